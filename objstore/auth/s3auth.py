"""Who signed an S3 request: every form of a signature that S3 has (but that of POST forms), in two steps.

`claim_of` reads what the request says of itself, None for an anonymous one; `verify` proves it with the secret found by
`claim.access_key`. A request that carries anything of a signature is never taken for an anonymous one.
"""

from objstore.auth import sigv2
from objstore.auth.accesskeys import AccessKey
from objstore.auth.s3facts import S3Facts
from objstore.auth.s3refusal import RefusalCode, S3Refused, invalid_argument
from objstore.auth.sigv2 import SigV2Claim
from objstore.auth.sigv4 import Regions, SigV4Claim, SigV4Verifier, parse_header
from objstore.auth.sigv4keys import ALGORITHM, ChunkSigner
from objstore.auth.sigv4presigned import carries_presigned, parse_presigned

ASYMMETRIC = "AWS4-ECDSA-P256-SHA256"

Claim = SigV4Claim | SigV2Claim


class S3Authenticator:
    """Reads and proves claims. `region` is the name of this store's only region."""

    def __init__(self, region: str) -> None:
        self._regions = Regions(region)
        self._sigv4 = SigV4Verifier()

    def claim_of(self, facts: S3Facts) -> Claim | None:
        """What the request says of itself. Raises S3Refused."""
        header = facts.headers.get("authorization")
        presigned, query = carries_presigned(facts), sigv2.carries_query(facts)
        if (header is not None) + presigned + query > 1:
            message = (
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or "
                "the Authorization header should be specified"
            )
            raise invalid_argument(message, "Authorization", "")
        if presigned:
            return parse_presigned(facts, self._regions)
        if query:
            return sigv2.parse_query(facts)
        return None if header is None else self._of_header(facts, header)

    def _of_header(self, facts: S3Facts, header: str) -> Claim:
        scheme, space, _ = header.partition(" ")
        match scheme:
            case _ if not space:
                message = "Authorization header is invalid -- one and only one ' ' (space) required"
            case _ if scheme == ALGORITHM:
                return parse_header(facts, self._regions)
            case sigv2.SCHEME:
                return sigv2.parse_header(facts)
            case _ if scheme == ASYMMETRIC:
                raise S3Refused(RefusalCode.NOT_IMPLEMENTED, details={"Header": "Authorization"})
            case _:
                message = "Unsupported Authorization Type"
        raise invalid_argument(message, "Authorization", header)

    def verify(self, claim: Claim, key: AccessKey, facts: S3Facts, now: float) -> ChunkSigner | None:
        """Returns when the claim is proven, with what verifies signed chunks (None for version 2, which has none). `now` is in
        seconds since the epoch. Raises S3Refused; InvalidAccessKeyId, after the same steps, where nobody has the access key.
        """
        try:
            if isinstance(claim, SigV4Claim):
                return self._sigv4.verify(claim, key.secret, facts, now)
            sigv2.verify(claim, key.secret, facts, now)
            return None
        except S3Refused as refused:
            if not key.known and refused.code is RefusalCode.SIGNATURE_DOES_NOT_MATCH:
                details = {"AWSAccessKeyId": claim.access_key}
                raise S3Refused(RefusalCode.INVALID_ACCESS_KEY_ID, details=details) from None
            raise
