"""Mutants of what proves S3's requests and their bodies, and of what bounds them."""

from tests.mutants.mutant import Mutant

AUTH = "objstore/auth/"
TESTS = "tests/unit/objstore/auth/"
API = "tests/unit/objstore/api/s3/"
SIGV4 = f"{AUTH}sigv4.py"
CHUNKS = f"{AUTH}awschunked.py"
SIGNING = "objstore/api/s3/signing.py"

SIGNATURES = (
    Mutant(
        "any signature of a request is genuine",
        SIGV4,
        "if missing or not genuine:",
        "if missing:",
        f"{TESTS}test_sigv4.py -k 'wrong_secret or changed_byte'",
    ),
    Mutant(
        "a signed header that is missing is an empty one",
        SIGV4,
        "if missing or not genuine:",
        "if not genuine:",
        f"{TESTS}test_sigv4.py -k missing",
    ),
    Mutant(
        "headers that are not signed count",
        SIGV4,
        'for name in ("host", *facts.amz_headers) if name not in names]',
        'for name in ("host",) if name not in names]',
        f"{TESTS}test_sigv4.py -k must_be_signed",
    ),
    Mutant(
        "the host need not be signed",
        SIGV4,
        'for name in ("host", *facts.amz_headers) if name not in names]',
        "for name in facts.amz_headers if name not in names]",
        f"{TESTS}test_sigv4.py -k must_be_signed",
    ),
    Mutant(
        "a presigned URL is good for ever",
        SIGV4,
        "elif now > signed + claim.expires_s:",
        "elif False:",
        f"{TESTS}test_sigv4presigned.py -k expires",
    ),
    Mutant(
        "a presigned URL may come from the future",
        SIGV4,
        "elif signed > now + SKEW_S_MAX:",
        "elif False:",
        f"{TESTS}test_sigv4presigned.py -k expires",
    ),
    Mutant(
        "an expiry may be any number",
        f"{AUTH}sigv4presigned.py",
        "if int(text) > EXPIRES_S_MAX:",
        "if False:",
        f"{TESTS}test_sigv4presigned.py -k 'week or expiries'",
    ),
    Mutant(
        "a client's clock may be off by anything",
        SIGV4,
        "if abs(now - signed) > SKEW_S_MAX:",
        "if False:",
        f"{TESTS}test_sigv4.py -k clock",
    ),
    Mutant(
        "a query may carry a streaming mode",
        f"{AUTH}sigv4presigned.py",
        "said, streaming=False)",
        "said, streaming=True)",
        f"{TESTS}test_sigv4presigned.py -k streams",
    ),
    Mutant(
        "an empty hash in a query is none",
        f"{AUTH}sigv4presigned.py",
        "parse_payload(UNSIGNED if said is None else said",
        "parse_payload(said or UNSIGNED",
        f"{TESTS}test_sigv4presigned.py -k streams",
    ),
    Mutant(
        "a payload mode that nobody knows is unsigned",
        f"{AUTH}s3payload.py",
        '    raise invalid_argument(f"{HEADER} must be',
        '    return Payload(PayloadMode.UNSIGNED, text)\n    raise invalid_argument(f"{HEADER} must be',
        f"{TESTS}test_sigv4.py -k unknown_payload",
    ),
    Mutant(
        "any signature of a chunk is genuine",
        CHUNKS,
        "if not same(signer.sign(text), signature):",
        "if False:",
        f"{TESTS}test_awschunked.py -k 'wrong_signature or other_order'",
    ),
    Mutant(
        "chunks do not follow each other",
        CHUNKS,
        "        self._signer = signer.after(signature)\n",
        "",
        f"{TESTS}test_awschunked.py",
    ),
    Mutant(
        "trailers are not signed",
        CHUNKS,
        "if self._signer is not None and SIGNATURE_TRAILER in self._wanted:",
        "if False:",
        f"{TESTS}test_awschunked.py -k 'trailers or wrong_signature'",
    ),
    Mutant(
        "a body may end before its last chunk",
        CHUNKS,
        "        if self._state is not _State.END:\n            raise incomplete()\n",
        "",
        f"{TESTS}test_awschunked.py -k 'truncation or missing_end'",
    ),
    Mutant(
        "the decoded length is not looked at",
        f"{AUTH}s3checks.py",
        "if self._size_bytes is not None and self._count_bytes != self._size_bytes:",
        "if False:",
        f"{TESTS}test_awschunked.py -k decoded_length",
    ),
    Mutant(
        "a checksum in a trailer is not compared",
        f"{AUTH}s3checks.py",
        "if not compare_digest(self._hashers[algorithm].digest(), expected):",
        "if False:",
        f"{TESTS}test_awschunked.py -k bad_trailers",
    ),
    Mutant(
        "a body need not have the hash that was signed",
        f"{AUTH}s3body.py",
        "if self._sha256 is not None and not compare_digest(self._sha256.digest(), self._digest):",
        "if False:",
        f"{TESTS}test_s3body.py",
    ),
    Mutant(
        "any signature of version 2 is genuine",
        f"{AUTH}sigv2.py",
        "if not same(sign(secret, text), claim.signature):",
        "if False:",
        f"{TESTS}test_sigv2.py -k 'changed or every_byte'",
    ),
    Mutant(
        "version 2 does not say what its body is",
        SIGNING,
        "self._payload(request, claim.payload, signer)",
        "self._payload(request, UNSIGNED if signer is None else claim.payload, signer)",
        f"{API}test_s3_signing.py -k hash_its_body",
    ),
    Mutant(
        "a packed transfer is taken as it comes",
        SIGNING,
        'if request.chunked and request.headers["transfer-encoding"].lower() != "chunked":',
        "if False:",
        f"{API}test_s3_signing.py -k codings",
    ),
    Mutant(
        "the doctor speaks of keys that nobody has",
        SIGNING,
        "self._doctor and key.known and error.code is RefusalCode.SIGNATURE_DOES_NOT_MATCH",
        "self._doctor",
        f"{API}test_s3_signing.py -k nobody_has",
    ),
    Mutant(
        "a document may have any Content-MD5",
        "objstore/api/s3/call.py",
        "if expected is not None and expected != md5(body, usedforsecurity=False).hexdigest():",
        "if False:",
        f"{API}test_s3_signing.py -k content_md5",
    ),
    Mutant(
        "documents may have any number of elements",
        "objstore/api/s3/xml.py",
        'if body.count(b"<") > tags_max:',
        "if False:",
        f"{API}test_s3_parts.py -k documents",
    ),
    Mutant(
        "documents may define entities",
        "objstore/api/s3/xml.py",
        "ElementTree.fromstring(body, forbid_dtd=True)",
        "ElementTree.fromstring(body, forbid_dtd=False, forbid_entities=False, forbid_external=False)",
        f"{API}test_s3_parts.py -k documents",
    ),
    Mutant(
        "a Host field may hold anything",
        "objstore/api/s3/address.py",
        "if not address and (len(name) > HOST_CHARS_MAX or not _NAME.fullmatch(name)):",
        "if False:",
        f"{API}test_s3_parts.py -k host_fields",
    ),
    Mutant(
        "many deletes need a right that one does not",
        "objstore/api/s3/deletes.py",
        "        except AccessDenied:  # who",
        "        except KeyError:  # who",
        "tests/cluster/test_s3_access.py -k many_deletes",
    ),
)
