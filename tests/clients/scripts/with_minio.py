"""minio-py."""

import io
import sys

import urllib3
from minio import Minio
from minio.commonconfig import ComposeSource, CopySource
from minio.deleteobjects import DeleteObject

endpoint, directory, certificate = sys.argv[1:]
pool = urllib3.PoolManager(ca_certs=certificate, cert_reqs="CERT_REQUIRED") if certificate else None
client = Minio(
    endpoint.partition("//")[2], "test:tester", "testing", secure=bool(certificate), region="us-east-1", http_client=pool
)
client.make_bucket("minio-bucket")
assert client.bucket_exists("minio-bucket")
client.put_object("minio-bucket", "a", io.BytesIO(b"x" * 100), 100, metadata={"k": "v"})
client.put_object("minio-bucket", "unknown size", io.BytesIO(b"x" * 100), -1, part_size=5 << 20)
client.fput_object("minio-bucket", "big", f"{directory}/big", part_size=5 << 20)
client.fget_object("minio-bucket", "big", f"{directory}/out/big")
with open(f"{directory}/big", "rb") as one, open(f"{directory}/out/big", "rb") as other:
    assert one.read() == other.read()
assert client.stat_object("minio-bucket", "a").metadata["x-amz-meta-k"] == "v"
client.copy_object("minio-bucket", "copy", CopySource("minio-bucket", "a"))
client.compose_object("minio-bucket", "whole", [ComposeSource("minio-bucket", "big"), ComposeSource("minio-bucket", "a")])
names = [found.object_name for found in client.list_objects("minio-bucket", recursive=True)]
assert names == ["a", "big", "copy", "unknown size", "whole"]
assert client.presigned_get_object("minio-bucket", "a").startswith(endpoint)
assert not list(client.remove_objects("minio-bucket", [DeleteObject(name) for name in names]))
client.remove_bucket("minio-bucket")
