"""duckdb on Parquet, through fsspec: its own S3 reader is an extension that it would load from elsewhere."""

import sys

import duckdb
import s3fs

endpoint, directory, certificate = sys.argv[1:]
fs = s3fs.S3FileSystem(endpoint_url=endpoint, client_kwargs={"verify": certificate or None})
fs.mkdir("duck-bucket")
database = duckdb.connect()
database.register_filesystem(fs)
database.execute("COPY (SELECT range a, range * 2 b FROM range(200000)) TO 's3://duck-bucket/t.parquet' (FORMAT parquet)")
whole = database.execute("SELECT count(*), sum(b) FROM read_parquet('s3://duck-bucket/t.parquet')").fetchone()
assert whole == (200_000, 200_000 * 199_999)
assert database.execute("SELECT count(*) FROM read_parquet('s3://duck-bucket/*.parquet') WHERE a < 10").fetchone() == (10,)
fs.rm("duck-bucket", recursive=True)
