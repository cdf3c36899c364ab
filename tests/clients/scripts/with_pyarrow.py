"""pyarrow's own S3 file system, with Parquet: everything it writes is a multipart upload."""

import sys

import pyarrow
import pyarrow.parquet as parquet
from pyarrow import fs

endpoint, directory, certificate = sys.argv[1:]
scheme, _, host = endpoint.partition("://")
more = {"tls_ca_file_path": certificate} if certificate else {}
s3 = fs.S3FileSystem(endpoint_override=host, scheme=scheme, allow_bucket_creation=True, allow_bucket_deletion=True, **more)
s3.create_dir("arrow-bucket/d")
table = pyarrow.table({"a": list(range(100_000)), "b": ["x", "y"] * 50_000})
parquet.write_table(table, "arrow-bucket/d/table.parquet", filesystem=s3)
assert parquet.read_table("arrow-bucket/d/table.parquet", filesystem=s3).equals(table)
parquet.write_to_dataset(table, "arrow-bucket/set", partition_cols=["b"], filesystem=s3)
assert parquet.read_table("arrow-bucket/set", filesystem=s3).num_rows == 100_000
s3.move("arrow-bucket/d/table.parquet", "arrow-bucket/d/moved.parquet")
assert {info.base_name for info in s3.get_file_info(fs.FileSelector("arrow-bucket/d"))} == {"moved.parquet"}
s3.delete_dir_contents("arrow-bucket")
s3.delete_dir("arrow-bucket")
