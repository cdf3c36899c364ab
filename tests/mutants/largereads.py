"""Large bodies that no node looks at before they are sent."""

from tests.mutants.mutant import Mutant

STREAMS = "objstore/object/streams.py"
DAMAGE = "tests/unit/objstore/object/test_damage.py"
SENDING = "tests/contract/test_sending_files.py"

LARGE_READS = (
    Mutant(
        "nobody looks at a file whose reader dropped the connection",
        STREAMS,
        "        except (PeerUnavailable, NodeError):\n            await self._look()\n            raise\n",
        "        except (PeerUnavailable, NodeError):\n            raise\n",
        DAMAGE,
    ),
    Mutant(
        "nobody looks at a file of which the last chunk was refused",
        STREAMS,
        "        if not clean:\n            await self._look()\n",
        "",
        DAMAGE,
    ),
    Mutant(
        "what is looked at ends before what was sent last",
        STREAMS,
        "verify_body(self._found, first, self._at)",
        "verify_body(self._found, first, max(first, self._at - 1_048_576))",
        DAMAGE,
    ),
    Mutant(
        "a chunk from a file is not checked where it arrives",
        "objstore/rpc/frames.py",
        '    if crc32c(data) != crc:\n        raise ProtocolError("chunk damaged on the way")\n',
        "",
        SENDING,
    ),
    Mutant(
        "a chunk overtakes what the transport has not sent",
        "objstore/rpc/filesending.py",
        "    await link.empty(timeout_s)\n",
        "",
        SENDING,
    ),
    Mutant(
        "a connection is used again after a chunk cut short",
        "objstore/rpc/exchange.py",
        "        except BaseException:  # a chunk cut short: nothing can follow\n            self.abort()\n            raise\n",
        "        except BaseException:\n            raise\n",
        SENDING,
    ),
)
