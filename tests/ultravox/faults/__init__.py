"""What can go wrong on the way to a page of voices, as data: one module a group.

Each fault is set with `Ultravox.fault` and then meets every request for a listing. Those of the group
"paging", and those that tell of a second page, need a catalogue of more than two pages to show.
"""

from dataclasses import replace

from tests.ultravox.faults import (
    bodies,
    connection,
    headers,
    paging,
    records,
    redirects,
    status,
    timing,
)
from tests.ultravox.faults.scripts import Fault

FAULTS = {
    fault.name: replace(fault, group=module.__name__.rpartition(".")[2])
    for module in (status, redirects, headers, timing, connection, bodies, records, paging)
    for fault in module.FAULTS
}

__all__ = ["FAULTS", "Fault"]
