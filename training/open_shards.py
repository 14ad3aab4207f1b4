"""Members of many shards by key, with a bounded number of shards open at a time, in any thread and any process.

    (shard uri, member key) --> IndexedTar, member number --> bytes: a view of the memory map, or one range read

A million clips lie in some 15,000 shards; each open one costs a file descriptor, so the least recently used is let go.
A process that was forked opens its own: object-store clients and locks do not survive a fork, memory maps would.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping

from curation.records import UserError
from curation.shard_index import IndexedTar
from curation.tables import Workspace

LIMIT = 256


class OpenShards:
    """Shards that are opened when they are first read.

    Args:
        index_sha256: of each shard's index, by the shard's uri; empty where nobody recorded it.
        limit: shards open at a time.
    """

    def __init__(self, workspace: Workspace, index_sha256: Mapping[str, str], limit: int = LIMIT) -> None:
        self.workspace, self.index_sha256, self.limit = workspace, index_sha256, limit
        self._begin()

    def _begin(self) -> None:
        self._pid, self._lock = os.getpid(), threading.Lock()
        self._tars: OrderedDict[str, tuple[IndexedTar, dict[str, int]]] = OrderedDict()

    def read(self, uri: str, key: str, extension: str) -> memoryview:
        """One file of one member; its bytes are checked against the index when they are first read.

        Raises:
            UserError: the shard or its index is missing or damaged, or has no such member; names it.
        """
        tar, numbers = self._opened(uri)
        if key not in numbers:
            raise UserError(f"shard {uri} has no member {key}; it is not the shard that was listed, write it again")
        try:
            return tar.read(numbers[key], extension)
        except ValueError as error:
            raise UserError(str(error)) from error

    def _opened(self, uri: str) -> tuple[IndexedTar, dict[str, int]]:
        if os.getpid() != self._pid:
            self.workspace = Workspace(self.workspace.uri)
            self._begin()
        with self._lock:
            if uri in self._tars:
                self._tars.move_to_end(uri)
                return self._tars[uri]
            tar = open_tar(self.workspace, uri, self.index_sha256[uri])
            found = self._tars[uri] = tar, {key: number for number, key in enumerate(tar.keys)}
            if len(self._tars) > self.limit:
                self._tars.popitem(last=False)  # closed when nobody holds a view of it any more
            return found


def open_tar(workspace: Workspace, uri: str, index_sha256: str) -> IndexedTar:
    """A shard by its index.

    Raises:
        UserError: the shard or its index is missing or damaged; names it.
    """
    try:
        return IndexedTar(workspace, uri, index_sha256 or None)
    except ValueError as error:
        raise UserError(str(error)) from error
