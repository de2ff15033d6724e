"""One round with the generated client: what is archived, proved and checked is what was sent.

    round.py DATA_CHAIN BLOCK_MANAGER PROOF
"""

import io
import json
import pathlib
import sys

import block_manager
import data_chain
from block_manager.api.blocks import get_block
from data_chain.api.anchors import get_anchor
from data_chain.api.content import get_data
from data_chain.api.proofs import prove_session
from data_chain.api.sessions import append_stream, create_session, get_session, seal_session
from data_chain.models import CreateSession, GetSessionStatus, Problem, SealSession, SessionStatus
from data_chain.types import File

data = data_chain.Client(base_url=sys.argv[1], raise_on_unexpected_status=True)
manager = block_manager.Client(base_url=sys.argv[2], raise_on_unexpected_status=True)
proof = pathlib.Path(sys.argv[3])
content, name = b"what Python sent", "by-python"


def got(answer):
    assert answer is not None and not isinstance(answer, Problem), answer
    return answer


begun = got(create_session.sync(client=data, body=CreateSession(session_id=name, user_id="ann")))
assert (begun.status, begun.offset) == (SessionStatus.ACTIVE, 0), begun
body = File(payload=io.BytesIO(content))
appended = got(append_stream.sync(name, client=data, body=body, upload_offset=0))
assert appended.offset == len(content), appended
sealed = got(seal_session.sync(name, client=data, body=SealSession()))
session = got(get_session.sync(name, client=data, wait="30s", status=GetSessionStatus.ANCHORED))
assert session.status == SessionStatus.ANCHORED, session
assert session.merkle_root == sealed.merkle_root, session
anchor = got(get_anchor.sync(name, client=data))
block = got(get_block.sync(str(anchor.block_index), client=manager))
assert block.hash_ == anchor.block_hash, block
assert anchor.transaction_id in [transaction.id for transaction in block.transactions], block
part = got(get_data.sync(name, client=data, range_="bytes=5-10"))
assert part.payload.read() == content[5:11]
proof.write_bytes(got(prove_session.sync(name, client=data)).payload.read())
proof.with_suffix(".content").write_bytes(content)
proof.with_suffix(".keys").write_text(json.dumps([anchor.trust.block, anchor.trust.recorder]))
missing = get_session.sync("nobody", client=data)
assert isinstance(missing, Problem) and missing.code.value == "not_found", missing
