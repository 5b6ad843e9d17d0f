"""Everything that can go wrong between Innomaint and us, as plain data for scripts.

`transport`: a status other than 200, or an answer that comes late or never. `body`: a 200 whose bytes are no
readable JSON, or far too many. `contract`: readable JSON that is not the answer asked for. `script`: which
request meets which fault. `base`: what they share.
"""

from innomaint_pipeline.simulator.innomaint.faults.base import Fault, Healthy, read_fault
from innomaint_pipeline.simulator.innomaint.faults.body import (
    ByteOrderMark,
    DeepNesting,
    EmptyBody,
    GzipBomb,
    Html,
    HugeBody,
    Truncated,
    WrongCharset,
)
from innomaint_pipeline.simulator.innomaint.faults.contract import (
    DataEmptyList,
    DataEmptyObject,
    DuplicateKeys,
    ListForObject,
    NullResponse,
    OddValue,
    OtherSerial,
    ResponseCode,
    StatusFalse,
)
from innomaint_pipeline.simulator.innomaint.faults.script import TRANSIENT_FAULTS, FaultScript
from innomaint_pipeline.simulator.innomaint.faults.transport import (
    Hang,
    ResetBeforeAnswer,
    ResetInBody,
    Slow,
    Status,
    Trickle,
)

__all__ = [
    "TRANSIENT_FAULTS",
    "ByteOrderMark",
    "DataEmptyList",
    "DataEmptyObject",
    "DeepNesting",
    "DuplicateKeys",
    "EmptyBody",
    "Fault",
    "FaultScript",
    "GzipBomb",
    "Hang",
    "Healthy",
    "Html",
    "HugeBody",
    "ListForObject",
    "NullResponse",
    "OddValue",
    "OtherSerial",
    "ResetBeforeAnswer",
    "ResetInBody",
    "ResponseCode",
    "Slow",
    "Status",
    "StatusFalse",
    "Trickle",
    "Truncated",
    "WrongCharset",
    "read_fault",
]
