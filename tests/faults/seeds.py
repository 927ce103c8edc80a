"""Which cases are done: fixed ones in the short form, any number in the long one."""

from __future__ import annotations

import os

CASES_OF_A_HISTORY = 8
"""Seeds that follow one another share a history, so that a clean run of it is made once."""

# seeds by kind that strike and take little time; those of the same eight share a history
SHORT: dict[str, tuple[int, ...]] = {
    "bad_revision": (135,),
    "cancel_statement": (43,),
    "clock": (73, 157),
    "cut": (360,),
    "cut_each": (131,),
    "cut_for_long": (40,),
    "cut_in_flight": (46,),
    "delay": (121,),
    "end_everything": (77,),
    "freeze": (153,),
    "half_open": (190,),
    "hanging_revision": (53,),
    "kill_backend": (6016,),
    "kill_everything": (125,),
    "kill_parent": (47,),
    "kill_pooler": (102,),
    "kill_worker": (44, 327),
    "ledger_cut": (132,),
    "ledger_file": (51, 134),
    "ledger_hangs": (152,),
    "ledger_server": (154,),
    "ledger_set_back": (73,),
    "lock_holder": (1059,),
    "lost_answer": (105,),
    "lost_for_long": (48,),
    "messy_revision": (77, 79),
    "nothing": (123, 615),
    "pause": (152,),
    "pooler_stopped": (127, 128),
    "read_only": (75,),
    "restart": (172, 3034),
    "second_runner": (130,),
    "server_down": (72,),
    "server_naps": (126,),
    "server_side_cut": (45,),
    "set_back": (73, 77),
    "server_stopped": (200136,),
    "silence": (49,),
    "stall": (45,),
    "stock_runner": (61,),
    "stop_signal": (47,),
    "throttle": (122,),
}


def seeds() -> list[tuple[int, str]]:
    """Each with a kind, or with none for any: EHG_FAULT_CASES of them from EHG_FAULT_SEED, of EHG_FAULT_KIND.

    Without these variables the fixed ones of the short form.
    """
    if "EHG_FAULT_CASES" not in os.environ:
        return sorted((seed, kind) for kind, numbers in SHORT.items() for seed in numbers)
    first, kind = int(os.environ.get("EHG_FAULT_SEED", "0")), os.environ.get("EHG_FAULT_KIND", "")
    return [(seed, kind) for seed in range(first, first + int(os.environ["EHG_FAULT_CASES"]))]


def batches() -> list[list[tuple[int, str]]]:
    """The cases, those of one history together."""
    found: dict[int, list[tuple[int, str]]] = {}
    for seed, kind in seeds():
        found.setdefault(seed // CASES_OF_A_HISTORY, []).append((seed, kind))
    return list(found.values())
