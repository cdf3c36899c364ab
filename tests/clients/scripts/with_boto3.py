"""boto3 and its transfer manager."""

import io
import sys

import boto3
from botocore.exceptions import ClientError

endpoint, directory, certificate = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint, verify=certificate or None)
s3.create_bucket(Bucket="boto-bucket")
s3.put_object(Bucket="boto-bucket", Key="a", Body=b"x", Metadata={"k": "v"})
assert s3.get_object(Bucket="boto-bucket", Key="a")["Body"].read() == b"x"
assert s3.head_object(Bucket="boto-bucket", Key="a")["Metadata"] == {"k": "v"}
s3.upload_file(f"{directory}/big", "boto-bucket", "big")
back = io.BytesIO()
s3.download_fileobj("boto-bucket", "big", back)
with open(f"{directory}/big", "rb") as file:
    assert back.getvalue() == file.read()
s3.copy({"Bucket": "boto-bucket", "Key": "big"}, "boto-bucket", "copy")
pages = s3.get_paginator("list_objects_v2").paginate(Bucket="boto-bucket", PaginationConfig={"PageSize": 1})
assert [row["Key"] for page in pages for row in page.get("Contents", ())] == ["a", "big", "copy"]
try:
    s3.put_object(Bucket="boto-bucket", Key="a", Body=b"y", IfNoneMatch="*")
    raise AssertionError("overwritten")
except ClientError as error:
    assert error.response["Error"]["Code"] == "PreconditionFailed"
s3.delete_objects(Bucket="boto-bucket", Delete={"Objects": [{"Key": key} for key in ("a", "big", "copy")]})
s3.delete_bucket(Bucket="boto-bucket")
