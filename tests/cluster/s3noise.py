"""Requests that look like S3's and are wrong somewhere: made from the parts that the server looks at, signed or not, and broken
before or after the signature, in their bytes, or by an end that comes too soon. One seed gives one sequence.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import quote

from tests.cluster.s3raw import CRC_TRAILER, SIGNED_CHUNKS, SIGNED_TRAILER, UNSIGNED, UNSIGNED_TRAILER, Raw, encoded, sign

BUCKETS = ["noise-0", "noise-1", "no-such-bucket", "UPPER", "a..b", "v1", "", "ä", "%ff", "noise-0%2Fk", "."]
KEYS = [
    "",
    "k",
    "k/l",
    "a b",
    "ä",
    "..",
    "../noise-1/k",
    "%00",
    "%ff",
    "k%2fl",
    "//",
    "a" * 1024,
    "a" * 1025,
    "%E2%80%A8",
    "?",
    "\u00ad",
]
METHODS = ["GET", "PUT", "HEAD", "POST", "DELETE", "OPTIONS", "COPY", "PATCH", "get", "TRACE"]
NUMBERS = ["", "0", "1", "-1", "10000", "10001", "1000", "1e3", "0x1", "9" * 30, "1.5", "\u0661", " 1", "null", "true", str(2**63)]
DATES = ["", "now", "Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 32 Foo 99999 25:61:61 GMT", "20130524T000000Z", "0", "-1", "9" * 40,
         "2038", "Sun, 31 Dec 9999 23:59:59 GMT",
          "Thu, 01 Jan 0000 00:00:00 +9999", "Mon, 1 Jan 2001 00:00:00 -99999999"]  # fmt: skip
RANGES = ["bytes=0-0", "bytes=-1", "bytes=5-", "bytes=9-1", "bytes=0-" + "9" * 30, "bytes=" + "0-0," * 60, "bytes=-0", "bytes=a-b",
          "bytes=", "lines=0-1", "bytes=0-1, 3-4", "bytes=\u0661-2", "bytes= 0 - 1"]  # fmt: skip
TAGS = ["*", '"x"', "x", 'W/"x"', '"', '""', ",", '"x", "y"', '"' * 100, "* , *", "\u00e4"]
TEXTS = ["", "a", "\u00e4", "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), "a" * 3000, "a\tb", "%00", "\x7f",
         "a;b=c", "<&>", "'\"", "=?utf-8?q?x?=", "../..", "\u2028"]  # fmt: skip
QUERIES: dict[str, list[str]] = {
    "list-type": ["2", "1", "3", "x"], "max-keys": NUMBERS, "prefix": [*KEYS, *TEXTS], "delimiter": ["/", "", "//", "\u00e4", "ab"],
    "marker": [*KEYS, *TEXTS], "continuation-token": ["", "x", "a" * 500, "AAAA", "%00"], "start-after": TEXTS,
    "encoding-type": ["url", "x", ""], "fetch-owner": ["true", "x"], "uploads": [""], "uploadId": ["", "x", "a" * 300, "0" * 32],
    "partNumber": NUMBERS, "max-parts": NUMBERS, "part-number-marker": NUMBERS, "max-uploads": NUMBERS, "key-marker": TEXTS,
    "upload-id-marker": TEXTS, "versions": [""], "versionId": ["null", "", "x"], "delete": [""], "location": [""], "acl": [""],
    "policy": [""], "tagging": [""], "cors": [""], "lifecycle": [""], "attributes": [""], "versioning": [""], "select": [""],
    "response-content-type": TEXTS, "response-expires": DATES, "max-buckets": NUMBERS, "restore": [""], "torrent": [""],
    "X-Amz-Date": DATES, "X-Amz-Expires": NUMBERS, "X-Amz-Signature": TEXTS, "AWSAccessKeyId": TEXTS, "Expires": NUMBERS,
    "Signature": TEXTS, "": TEXTS, "x-id": TEXTS,
}  # fmt: skip
HEADERS: dict[str, list[str]] = {
    "Range": RANGES, "If-Match": TAGS, "If-None-Match": TAGS, "If-Modified-Since": DATES, "If-Unmodified-Since": DATES,
    "Content-Type": TEXTS, "Content-MD5": ["", "x", "AAAAAAAAAAAAAAAAAAAAAA==", "1B2M2Y8AsgTpgAmY7PhCfg=="],
    "Content-Encoding": TEXTS, "Cache-Control": TEXTS, "Content-Disposition": TEXTS, "Expires": DATES,
    "Expect": ["100-continue", "x"],
    "x-amz-copy-source": [f"/{bucket}/{key}" for bucket in BUCKETS[:4] for key in KEYS[:8]] + TEXTS,
    "x-amz-copy-source-range": RANGES, "x-amz-copy-source-if-match": TAGS, "x-amz-copy-source-if-modified-since": DATES,
    "x-amz-metadata-directive": ["COPY", "REPLACE", "x", ""], "x-amz-checksum-crc32": ["AAAAAA==", "", "x", "A" * 400],
    "x-amz-checksum-sha256": ["x", "A" * 44], "x-amz-checksum-crc64nvme": ["AAAAAAAAAAA="], "x-amz-checksum-zzz": ["x"],
    "x-amz-sdk-checksum-algorithm": ["CRC32", "x"], "x-amz-checksum-algorithm": ["CRC32", "SHA1", "x", ""],
    "x-amz-checksum-type": ["COMPOSITE", "FULL_OBJECT", "x"], "x-amz-checksum-mode": ["ENABLED", "x"],
    "x-amz-object-attributes": ["ETag", "ETag,Checksum,ObjectParts", "x", ""], "x-amz-decoded-content-length": NUMBERS,
    "x-amz-trailer": [CRC_TRAILER, "x", "", "x-amz-meta-a", f"{CRC_TRAILER},x-amz-checksum-sha1"], "x-amz-meta-a": TEXTS,
    "x-amz-meta-": TEXTS, "x-amz-acl": ["private", "public-read", "x"], "x-amz-mp-object-size": NUMBERS, "x-amz-tagging": TEXTS,
    "x-amz-storage-class": ["STANDARD", "GLACIER", "x"], "x-amz-server-side-encryption": ["AES256", "x"], "Origin": TEXTS,
    "x-amz-security-token": TEXTS, "x-amz-expected-bucket-owner": TEXTS, "Date": DATES, "x-amz-date": DATES, "Accept": TEXTS,
    "Transfer-Encoding": ["chunked", "gzip, chunked", "x"], "Host": ["", "a..b", "x:99999", "[::1]"], "Referer": TEXTS,
}  # fmt: skip
STREAMING = [SIGNED_CHUNKS, SIGNED_TRAILER, UNSIGNED_TRAILER]
PAYLOADS = [None, "", UNSIGNED, *STREAMING, *STREAMING, "x", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "0" * 64]
XML_PIECES = [
    "<Delete>", "</Delete>", "<Object>", "</Object>", "<Key>k</Key>", "<Key>", "</Key>", "<Quiet>true</Quiet>", "<Part>",
    "</Part>", "<PartNumber>1</PartNumber>", "<ETag>x</ETag>", "<CompleteMultipartUpload>", "</CompleteMultipartUpload>",
    "&#0;", "&amp;", "<CreateBucketConfiguration>", "</CreateBucketConfiguration>",
    "<LocationConstraint>x</LocationConstraint>", "\xe4", "&x;", "<![CDATA[x]]>", "<!-- x -->", "<?x y?>", "<!DOCTYPE x>",
    '<a b="c">', "\x00", "]]>", "<VersionId>x</VersionId>",
]  # fmt: skip
GOOD_XML = [
    b"<Delete><Object><Key>k</Key></Object><Quiet>false</Quiet></Delete>",
    b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
    b"<CreateBucketConfiguration><LocationConstraint>us-east-1</LocationConstraint></CreateBucketConfiguration>",
]


@dataclass(frozen=True)
class Noise:
    """What to send; `sent` of it before the client stops, when it does."""

    data: bytes
    method: str
    stops: bool = False


class Noisy:
    """The sequence of one seed."""

    def __init__(self, endpoint: str, seed: int) -> None:
        self._endpoint = endpoint
        self._rng = random.Random(seed)

    def next(self) -> Noise:
        rng = self._rng
        raw = self._raw()
        data = raw.wire()
        if rng.random() < 0.12:
            data = self._broken(data)
        if rng.random() < 0.05:
            return Noise(data[: rng.randrange(len(data) + 1)], raw.method, True)
        return Noise(data, raw.method)

    def _raw(self) -> Raw:
        """Mostly well signed, so that more than the signature is reached."""
        rng = self._rng
        method = rng.choice(METHODS[:5] if rng.random() < 0.9 else METHODS)
        target, headers, body = self._target(), self._headers(), self._body()
        payload = rng.choice(PAYLOADS) if rng.random() < 0.2 else None
        chunks = [body, b"x" * rng.choice([0, 1, 9000])] if rng.random() < 0.5 else [body]
        if payload is not None and payload in STREAMING and rng.random() < 0.9:
            headers["x-amz-decoded-content-length"] = str(sum(map(len, chunks)))
            headers |= {"x-amz-trailer": CRC_TRAILER} if payload.endswith("-TRAILER") else {}
        kind = rng.random()
        try:
            raw = sign(
                self._endpoint, method, target, body, headers, payload=payload, query=kind < 0.2,
                secret="testing" if rng.random() < 0.95 else "wrong", region="us-east-1" if rng.random() < 0.97 else "x",
                expires_s=rng.choice([60, 604_800, 604_801, 0, -1]) if kind < 0.05 else 60,
            )  # fmt: skip
        except (ValueError, UnicodeError):  # more than the signer takes: send it unsigned
            raw = Raw(method, target, (("Host", "localhost"), *headers.items())).carrying(body)
        if payload is not None and payload in STREAMING:
            parts = encoded(raw, payload, [chunk for chunk in chunks if chunk])
            raw = raw.carrying(b"".join(self._shuffled(parts)))
        if kind > 0.95:
            raw = replace(raw, headers=tuple(one for one in raw.headers if one[0] != "Authorization"))
        return self._spoilt(raw) if rng.random() < 0.2 else raw

    def _target(self) -> str:
        rng = self._rng
        bucket, key = (
            rng.choice(BUCKETS[: 2 if rng.random() < 0.85 else None]),
            rng.choice(KEYS[: 2 if rng.random() < 0.5 else None]),
        )
        path = f"/{bucket}" + (f"/{key}" if key or rng.random() < 0.3 else "")
        path = quote(path, safe="/%?~.") if rng.random() < 0.95 else path
        names = rng.choices(list(QUERIES), k=rng.choice([0, 0, 0, 1, 1, 2]))
        fields = [f"{name}={quote(rng.choice(QUERIES[name]), safe='')}" if rng.random() < 0.9 else name for name in names]
        return path + ("?" + "&".join(fields) if fields else "")

    def _headers(self) -> dict[str, str]:
        rng = self._rng
        return {name: rng.choice(HEADERS[name]) for name in rng.choices(list(HEADERS)[:-3], k=rng.choice([0, 0, 0, 1, 1, 3]))}

    def _body(self) -> bytes:
        rng = self._rng
        match rng.randrange(5):
            case 0:
                return rng.choice(GOOD_XML)
            case 1:
                return "".join(rng.choices(XML_PIECES, k=rng.randrange(12))).encode()
            case 2:
                return self._broken(rng.choice(GOOD_XML))
            case 3:
                return rng.randbytes(rng.choice([1, 40, 9000]))
        return b""

    def _shuffled(self, parts: list[bytes]) -> list[bytes]:
        """The chunks of a body: as they are, or in another order, or not all of them."""
        rng = self._rng
        match rng.randrange(4):
            case 0:
                return rng.sample(parts, len(parts))
            case 1:
                return parts[: rng.randrange(len(parts) + 1)]
            case 2:
                return [self._broken(b"".join(parts))]
        return parts

    def _spoilt(self, raw: Raw) -> Raw:
        """Something is not what was signed."""
        rng = self._rng
        choices: list[Callable[[], Raw]] = [
            lambda: replace(raw, target=self._target()),
            lambda: replace(raw, method=rng.choice(METHODS)),
            lambda: raw.carrying(self._body()),
            lambda: raw.having(rng.choice(list(HEADERS)), rng.choice(TEXTS)),
            lambda: self._with_header(raw),
            lambda: raw.having(rng.choice(raw.headers)[0]),
            lambda: raw.having(
                "Authorization", self._broken(raw.target.encode()).decode("latin-1").replace("\r", "").replace("\n", "")
            ),
            lambda: raw.having("Content-Length", rng.choice(NUMBERS)),
            lambda: replace(raw, headers=tuple((name, self._text(value)) for name, value in raw.headers)),
        ]
        return rng.choice(choices)()

    def _with_header(self, raw: Raw) -> Raw:
        name = self._rng.choice(list(HEADERS))
        return raw.having(name, *self._rng.choices(HEADERS[name], k=self._rng.choice([1, 1, 2])))

    def _text(self, text: str) -> str:
        """Now and then with a character that is another."""
        if not text or self._rng.random() < 0.7:
            return text
        at = self._rng.randrange(len(text))
        return text[:at] + self._rng.choice("aA0/;,= -\u00e4") + text[at + 1 :]

    def _broken(self, data: bytes) -> bytes:
        """One to three bytes changed, put in, taken out; or a stretch that is there twice."""
        rng, made = self._rng, bytearray(data)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(made) + 1)
            match rng.randrange(4):
                case 0 if at < len(made):
                    made[at] ^= 1 << rng.randrange(8)
                case 1:
                    made[at:at] = rng.choice([b"\r\n", b"\0", b":", b" ", b"%", b"\xff", b"&", b";", b"<", b'"', b"\n", b"0"])
                case 2:
                    del made[at : at + rng.randint(1, 5)]
                case _:
                    made[at:at] = made[at : at + rng.randint(1, 40)]
        return bytes(made)
