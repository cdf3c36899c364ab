"""Who asks, and what the body must be: from the signature of a request."""

from objstore.api.request import Request
from objstore.api.s3.call import Payload
from objstore.api.s3.errors import S3Error, refused
from objstore.auth.accesskeys import AccessKey, AccessKeys
from objstore.auth.s3auth import Claim, S3Authenticator
from objstore.auth.s3body import body_of
from objstore.auth.s3checks import NAMES, decoded_size
from objstore.auth.s3facts import S3Facts
from objstore.auth.s3payload import Payload as PayloadKind
from objstore.auth.s3payload import PayloadMode
from objstore.auth.s3refusal import RefusalCode, S3Refused
from objstore.auth.sigv4 import SigV4Claim
from objstore.auth.sigv4doctor import diagnose
from objstore.auth.sigv4keys import ChunkSigner
from objstore.model.identity import ANONYMOUS
from objstore.runtime.interface import Clock

NOBODY = AccessKey("", ANONYMOUS, "")
DOCTOR = "SignatureDoctor"
"""The element of an error document that the doctor adds."""
UNSIGNED = PayloadKind(PayloadMode.UNSIGNED, "")


def carries_signature(request: Request) -> bool:
    """Whether a request claims to be signed in one of S3's ways."""
    header = request.headers.get("authorization")
    if header is not None and header.startswith("AWS"):
        return True
    query = request.query_text
    return bool(query) and ("X-Amz-" in query or "AWSAccessKeyId=" in query)


class Signing:
    """Proves signatures with the configured users' keys. With `doctor`, who signs wrongly is told what was signed instead."""

    def __init__(self, keys: AccessKeys, clock: Clock, region: str, piece_bytes: int, doctor: bool = False) -> None:
        self._keys = keys
        self._clock = clock
        self._authenticator = S3Authenticator(region)
        self._piece_bytes = piece_bytes
        self._doctor = doctor

    def identify(self, request: Request, bucket_in_host: str) -> tuple[AccessKey, Payload]:
        """Who signed, and the body as it will be verified. Raises S3Error.

        A transfer coding besides chunked is NotImplemented (RFC 9112 section 6.1): nothing here unpacks what clients packed.
        """
        if request.chunked and request.headers["transfer-encoding"].lower() != "chunked":
            raise S3Error("NotImplemented", details={"Header": "Transfer-Encoding"})
        facts = S3Facts(request.method, request.path, request.query_text, request.headers, bucket_in_host)
        try:
            claim = self._authenticator.claim_of(facts)
            if claim is None:
                return NOBODY, self._payload(request, UNSIGNED, None)
            key = self._keys.find(claim.access_key)
            signer = self._verified(claim, key, facts)
            return key, self._payload(request, claim.payload, signer)
        except S3Refused as error:
            raise refused(error) from None

    def _verified(self, claim: Claim, key: AccessKey, facts: S3Facts) -> ChunkSigner | None:
        """As `S3Authenticator.verify`; what the doctor finds is one more element of the refusal, for keys that somebody has."""
        try:
            return self._authenticator.verify(claim, key, facts, self._clock.now())
        except S3Refused as error:
            asked = self._doctor and key.known and error.code is RefusalCode.SIGNATURE_DOES_NOT_MATCH
            if asked and isinstance(claim, SigV4Claim):
                error.details[DOCTOR] = "; ".join(diagnose(claim, facts, key.secret).findings)
            raise

    def _payload(self, request: Request, kind: PayloadKind, signer: ChunkSigner | None) -> Payload:
        on_the_wire = None if request.chunked else request.payload_size or 0
        headers = request.headers
        if request.method == "POST" and "uploadId" in request.query:  # there they are about the object that the parts become
            headers = {name: value for name, value in headers.items() if name not in NAMES}
        size = decoded_size(request.headers) if kind.mode.chunked else request.payload_size
        body = body_of(kind, headers, on_the_wire, signer)
        return Payload(request, body, kind.mode, size, self._piece_bytes)
