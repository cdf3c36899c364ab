"""S3 requests as a client signs them, and the facts that a server sees of them."""

import random
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from objstore.auth.accesskeys import AccessKey
from objstore.auth.s3auth import S3Authenticator
from objstore.auth.s3dates import parse_basic
from objstore.auth.s3facts import S3Facts
from objstore.auth.s3refusal import S3Refused
from objstore.auth.sigv4 import SigV4Claim
from objstore.auth.sigv4keys import ChunkSigner
from objstore.model.identity import Identity
from objstore.model.octets import text_of

ACCESS_KEY, SECRET, REGION = "test:tester", "testing", "us-east-1"
KEY = AccessKey(SECRET, Identity("test:tester"), "AUTH_test")
KEY_CHARACTERS = "abcXYZ019 -_.~/!*'()+%$&,:;=@#?[]\"<>\\^`{|}äß漢😀\u00ad"
VALUE_CHARACTERS = "abc XYZ  019;:,=\"'%+äß漢"


@dataclass
class Sent:
    """A signed request on its way; `now` is the time of its signature."""

    method: str
    target: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    now: float = 0.0
    bucket_in_host: str = ""

    def facts(self) -> S3Facts:
        path, _, query = self.target.partition("?")
        headers: dict[str, str] = {}
        for name, value in self.headers:
            seen = text_of(value.strip(" \t").encode())
            headers[name.lower()] = f"{headers[name.lower()]},{seen}" if name.lower() in headers else seen
        return S3Facts(self.method, path, query, headers, self.bucket_in_host)


def sign(
    method: str,
    url: str,
    headers: list[tuple[str, str]] | None = None,
    body: bytes = b"",
    expires_s: int | None = None,
    secret: str = SECRET,
    region: str = REGION,
) -> Sent:
    """A request signed by botocore: in the header, or, with `expires_s`, in the query."""
    request = AWSRequest(method, url, data=body)
    for name, value in headers or []:
        request.headers.add_header(name, value)
    credentials = Credentials(ACCESS_KEY, secret)
    if expires_s is None:
        S3SigV4Auth(credentials, "s3", region).add_auth(request)
    else:
        S3SigV4QueryAuth(credentials, "s3", region, expires=expires_s).add_auth(request)
    split = urlsplit(request.url)
    sent = [(name, value) for name, value in request.headers.items() if name.lower() != "host"]
    target = split.path + (f"?{split.query}" if split.query else "")
    now = parse_basic(request.context["timestamp"])
    assert now is not None
    host = request.headers.get("Host") or split.netloc
    return Sent(method, target, [("Host", host), *sent], now)


def random_sent(rng: random.Random) -> Sent:
    """Any request that a client could mean, in a header or presigned."""
    method = rng.choice(["GET", "HEAD", "PUT", "POST", "DELETE"])
    key = "".join(rng.choices(KEY_CHARACTERS, k=rng.randrange(30)))
    names = ["acl", "prefix", "list-type", "partNumber", "response-content-type", "a b", "ä", "versionId", "", "A", "a", "a-", "a="]
    fields = [(rng.choice(names), "".join(rng.choices(KEY_CHARACTERS, k=rng.randrange(8)))) for _ in range(rng.randrange(5))]
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in fields)
    host = rng.choice(["localhost:8080", "s3.example.com", "bucket.s3.example.com", "[::1]:8080", "127.0.0.1"])
    url = f"http://{host}/bucket/{quote(key, safe='/~')}" + (f"?{query}" if query else "")
    if rng.random() < 0.4:
        return sign(method, url, expires_s=rng.randint(1, 604_800))
    choices = [
        "Content-Type",
        "Content-MD5",
        "Range",
        "x-amz-meta-a",
        "X-Amz-Meta-B",
        "x-amz-acl",
        "x-amz-copy-source",
        "Accept-Encoding",
    ]
    headers = [(rng.choice(choices), "".join(rng.choices(VALUE_CHARACTERS, k=rng.randrange(20)))) for _ in range(rng.randrange(6))]
    return sign(method, url, headers, rng.randbytes(rng.randrange(20)))


def prove(sent: Sent, now: float | None = None, key: AccessKey = KEY, server: S3Authenticator | None = None) -> ChunkSigner | None:
    """As the server does, with the secret of KEY for its access key, and one that nobody has for any other. Raises S3Refused."""
    server = server or S3Authenticator(REGION)
    facts = sent.facts()
    claim = server.claim_of(facts)
    assert claim is not None
    if claim.access_key != ACCESS_KEY:
        key = AccessKey("x" * 32, Identity(), "", known=False)
    return server.verify(claim, key, facts, sent.now if now is None else now)


def refusal(sent: Sent, now: float | None = None) -> S3Refused:
    """What the server refuses it with."""
    try:
        prove(sent, now)
    except S3Refused as refused:
        return refused
    raise AssertionError(f"accepted: {sent}")


def claim_of(sent: Sent, region: str = REGION) -> SigV4Claim:
    claim = S3Authenticator(region).claim_of(sent.facts())
    assert isinstance(claim, SigV4Claim)
    return claim
