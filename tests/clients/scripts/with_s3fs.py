"""s3fs, as fsspec's users have it."""

import sys

import s3fs

endpoint, directory, certificate = sys.argv[1:]
fs = s3fs.S3FileSystem(endpoint_url=endpoint, client_kwargs={"verify": certificate or None})
with open(f"{directory}/big", "rb") as file:
    big = file.read()
fs.mkdir("fs-bucket")
with fs.open("fs-bucket/x/big", "wb", block_size=5 << 20) as out:
    out.write(big)
assert fs.info("fs-bucket/x/big")["size"] == len(big)
with fs.open("fs-bucket/x/big", "rb") as file:
    file.seek(-10, 2)
    assert file.read() == big[-10:]
fs.put(f"{directory}/src", "fs-bucket/src", recursive=True)
fs.mv("fs-bucket/x/big", "fs-bucket/moved")
fs.cp("fs-bucket/moved", "fs-bucket/copy")
assert fs.cat("fs-bucket/copy") == big
assert {"fs-bucket/copy", "fs-bucket/moved"} < set(fs.find("fs-bucket"))
fs.rm("fs-bucket", recursive=True)
