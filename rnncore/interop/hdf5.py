"""The part of HDF5 that Keras files use, read in Python: groups, texts as attributes, arrays in one piece.

The HDF5 library crashes, or takes gigabytes, over single bytes of a hostile file. Here every place and size
is compared with the bytes that there are, and the work is bounded by them. Refused are chunks, compression,
links, other files, and large groups as ``libver="latest"`` lays them out. The format, all little-endian:
https://docs.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89HDF\r\n\x1a\n"
NOWHERE = 2**64 - 1
FLOATS = {4: bytes.fromhex("00002000 17080017 7f000000"), 8: bytes.fromhex("00004000 340b0034 ff030000")}
# Kinds of messages, of which an object's header is a list.
SPACE, LINKS, TYPE, EXTERNAL, LINK, LAYOUT = 0x1, 0x2, 0x3, 0x7, 0x6, 0x8
FILTERS, ATTRIBUTE, CONTINUED, SYMBOLS, ATTRIBUTES = 0xB, 0xC, 0x10, 0x11, 0x15
SHARED = 2  # a message's flag: it is somewhere else


class Message(NamedTuple):
    """One of an object's header: its kind, its flags, and where its content is."""

    kind: int
    flags: int
    start: int
    end: int


class Piece(NamedTuple):
    """Where something is, and how many bytes it has."""

    start: int
    size: int


class Attribute(NamedTuple):
    """The parts of an attribute."""

    name: Piece
    kind: Piece
    space: Piece
    content: Piece


class File:
    """An HDF5 file in memory; ValueError from any method says what is wrong with it.

    An object, group or array, is the place of its header. ``root`` is that of the root group.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._steps = 1000 + len(data) // 4  # of work, so that no circle goes on for ever
        self._bytes = len(data)  # of results, so that nothing is read many times over
        self._headers: dict[int, list[Message]] = {}
        self._members: dict[int, dict[str, int | None]] = {}
        self._attributes: dict[int, dict[bytes, Attribute]] = {}
        self._heaps: dict[int, dict[int, Piece]] = {}
        if data[:8] != SIGNATURE:
            raise ValueError("it is not an HDF5 file")
        self.root = self._find_root()

    def members(self, group: int) -> dict[str, int | None]:
        """Names in a group, and what is there, None for a link; empty if it is not a group at all."""
        if group not in self._members:
            found: dict[str, int | None] = {}
            for message in self._header(group):
                if message.kind == SYMBOLS:
                    tree, heap = self._whole(message.start, 8), self._whole(message.start + 8, 8)
                    found |= self._tree_members(tree, heap)
                elif message.kind == LINK:
                    found |= [self._link(message)]
                elif message.kind == LINKS:
                    self._refuse_far("links", message)
            self._members[group] = found
        return self._members[group]

    def texts(self, item: int, name: str) -> list[bytes] | None:
        """The texts of an attribute, None if there is none of this name; a single one is a list of one."""
        if item not in self._attributes:
            found = {}
            for message in self._header(item):
                if message.kind == ATTRIBUTES:
                    self._refuse_far("attributes", message)
                if message.kind == ATTRIBUTE and not message.flags & SHARED:
                    attribute = self._attribute(message)
                    found[self._take(*attribute.name).rstrip(b"\0")] = attribute
            self._attributes[item] = found
        named = self._attributes[item].get(name.encode())
        return None if named is None else self._attribute_texts(named, name)

    def array(self, item: int, name: str) -> NDArray[Any]:
        """The numbers of a dataset of float32 or float64 that is in the file in one piece."""
        messages = {message.kind: message for message in self._header(item)}
        if not {SPACE, TYPE, LAYOUT} <= messages.keys() or messages[TYPE].flags & SHARED:
            raise ValueError(f"its {name[:200]!r} is no array of float32 or float64")
        size = self._float_size(messages[TYPE].start)
        if size is None:
            raise ValueError(f"its {name[:200]!r} is no array of float32 or float64")
        shape = self._shape(messages[SPACE].start, messages[SPACE].end)
        start, held = self._place(messages[LAYOUT])
        total = size * math.prod(shape)
        there = held >= total and self._has(start, total)
        if messages.keys() & {FILTERS, EXTERNAL} or (total and not there):
            raise ValueError(f"its {name[:200]!r} claims shape {shape}, but is not in the file in one piece")
        self._spend(total)
        if not total:
            return np.empty(shape, f"f{size}")
        return np.frombuffer(self._data, f"<f{size}", total // size, start).reshape(shape).astype(f"f{size}")

    # Bytes.

    def _has(self, start: int, size: int) -> bool:
        return 0 <= start <= start + size <= len(self._data)

    def _check(self, start: int, size: int) -> None:
        if not self._has(start, size):
            raise ValueError(f"it is damaged: {size} bytes at {start} are not there")

    def _take(self, start: int, size: int) -> bytes:
        self._check(start, size)
        return self._data[start : start + size]

    def _whole(self, start: int, size: int) -> int:
        return int.from_bytes(self._take(start, size), "little")

    def _expect(self, start: int, mark: bytes, version: int | None = None) -> None:
        if self._take(start, len(mark)) != mark or version not in (None, self._whole(start + len(mark), 1)):
            raise ValueError(f"it is damaged: there is no {mark.decode()} at {start}")

    def _step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise ValueError("it is damaged: its parts refer to one another without end")

    def _spend(self, size: int) -> None:
        self._bytes -= size
        if self._bytes < 0:
            raise ValueError("it is damaged: its contents are more than the file")

    # Headers of objects.

    def _find_root(self) -> int:
        version = self._whole(8, 1)
        if version in (0, 1):
            sizes, base = self._take(13, 2), 24 if version == 0 else 28
            root = base + 40  # behind four places and the name of the root
        elif version in (2, 3):
            sizes, base, root = self._take(9, 2), 12, 36
        else:
            raise ValueError(f"it is no HDF5 file of a known version, but of {version}")
        if sizes != b"\x08\x08" or self._whole(base, 8):
            raise ValueError("it is no HDF5 file with sizes of 8 bytes that begins at its first byte")
        return self._whole(root, 8)

    def _header(self, item: int) -> list[Message]:
        """The messages of an object's header, with those of its continuations."""
        if item not in self._headers:
            self._headers[item] = list(
                self._new_messages(item) if self._take(item, 4) == b"OHDR" else self._old_messages(item)
            )
        return self._headers[item]

    def _old_messages(self, item: int) -> Iterator[Message]:
        if self._whole(item, 1) != 1:
            raise ValueError(f"it is damaged: there is no object at {item}")
        blocks = [(item + 16, self._whole(item + 8, 4))]
        for start, size in blocks:  # which grows
            self._check(start, size)
            end = start + size
            while start + 8 <= end:
                self._step()
                kind, length = self._whole(start, 2), self._whole(start + 2, 2)
                message = Message(kind, self._whole(start + 4, 1), start + 8, start + 8 + length)
                start = message.end
                if start > end:
                    raise ValueError(f"it is damaged: the header at {item} has no end")
                if kind == CONTINUED:
                    blocks.append((self._whole(message.start, 8), self._whole(message.start + 8, 8)))
                yield message

    def _new_messages(self, item: int) -> Iterator[Message]:
        self._expect(item, b"OHDR", 2)
        flags = self._whole(item + 5, 1)
        start = item + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        ahead = 6 if flags & 4 else 4
        blocks = [(start + width, self._whole(start, width))]
        for start, size in blocks:
            self._check(start, size)
            end = start + size
            while start + ahead <= end:
                self._step()
                kind, length = self._whole(start, 1), self._whole(start + 1, 2)
                message = Message(kind, self._whole(start + 3, 1), start + ahead, start + ahead + length)
                start = message.end
                if start > end:
                    raise ValueError(f"it is damaged: the header at {item} has no end")
                if kind == CONTINUED:
                    more, length = self._whole(message.start, 8), self._whole(message.start + 8, 8)
                    self._expect(more, b"OCHK")
                    blocks.append((more + 4, length - 8))  # without mark and checksum
                yield message

    def _refuse_far(self, what: str, message: Message) -> None:
        """Raise ValueError where links or attributes are in a heap of their own."""
        flags = self._whole(message.start + 1, 1)
        wide = 8 if what == "links" else 2
        if self._whole(message.start + 2 + (wide if flags & 1 else 0), 8) != NOWHERE:
            raise ValueError(
                f"it keeps {what} in a heap, which is not read: HDF5 does so for more than eight with "
                "libver='latest', or with a name that is not ASCII"
            )

    # Groups.

    def _tree_members(self, tree: int, heap: int) -> dict[str, int | None]:
        """The names of an old group: a tree of tables, whose names are in a heap."""
        self._expect(heap, b"HEAP", 0)
        names, size = self._whole(heap + 24, 8), self._whole(heap + 8, 8)
        self._check(names, size)
        found: dict[str, int | None] = {}
        trees = [tree]
        for node in trees:  # which grows
            self._step()
            self._expect(node, b"TREE", 0)
            level, count = self._whole(node + 5, 1), self._whole(node + 6, 2)
            children = [self._whole(node + 32 + 16 * number, 8) for number in range(count)]
            self._steps -= count
            if level:
                trees += children
                continue
            for table in children:
                found |= self._table_members(table, names, names + size)
        return found

    def _table_members(self, table: int, names: int, end: int) -> Iterator[tuple[str, int | None]]:
        self._expect(table, b"SNOD", 1)
        for number in range(self._whole(table + 6, 2)):
            self._step()
            entry = table + 8 + 40 * number
            start = names + self._whole(entry, 8)
            stop = self._data.find(b"\0", start, min(end, start + 1000))
            if not names <= start < end or stop < 0:
                raise ValueError(f"it is damaged: the name of an entry at {entry} is not there")
            linked = self._whole(entry + 16, 4) == 2
            yield self._data[start:stop].decode(), None if linked else self._whole(entry + 8, 8)

    def _link(self, message: Message) -> tuple[str, int | None]:
        """The name and the place of a link in a header."""
        flags, start = self._whole(message.start + 1, 1), message.start + 2
        kind = self._whole(start, 1) if flags & 8 else 0
        start += (1 if flags & 8 else 0) + (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
        width = 1 << (flags & 3)
        size, start = self._whole(start, width), start + width
        if start + size > message.end:
            raise ValueError(f"it is damaged: the name of a link at {start} has no end")
        return self._take(start, size).decode(), None if kind else self._whole(start + size, 8)

    # Arrays.

    def _shape(self, start: int, end: int) -> tuple[int, ...]:
        version, rank = self._whole(start, 1), self._whole(start + 1, 1)
        first = start + (8 if version == 1 else 4)
        empty = version == 2 and self._whole(start + 3, 1) == 2
        if version not in (1, 2) or rank > 32 or first + 8 * rank > end or empty:
            raise ValueError(f"it is damaged: there is no shape at {start}")
        return tuple(self._whole(first + 8 * axis, 8) for axis in range(rank))

    def _float_size(self, start: int) -> int | None:
        """4 or 8 for little-endian IEEE numbers, None for all other types."""
        size = self._whole(start + 4, 4)
        plain = self._whole(start, 1) & 15 == 1 and not self._whole(start + 1, 1) & 0x41
        return size if plain and self._take(start + 8, 12) == FLOATS.get(size) else None

    def _place(self, layout: Message) -> Piece:
        """Where an array is, and how many bytes are there; none where it is not in one piece."""
        version, kind = self._whole(layout.start, 1), self._whole(layout.start + 1, 1)
        if version not in (3, 4) or layout.flags & SHARED or kind > 1:
            return Piece(0, -1)
        if kind == 0:
            held = min(self._whole(layout.start + 2, 2), layout.end - layout.start - 4)
            return Piece(layout.start + 4, held)
        return Piece(self._whole(layout.start + 2, 8), self._whole(layout.start + 10, 8))

    # Attributes.

    def _attribute(self, message: Message) -> Attribute:
        version, flags = self._whole(message.start, 1), self._whole(message.start + 1, 1)
        if version not in (1, 2, 3) or (version > 1 and flags & 3):
            raise ValueError(f"it is damaged: there is no attribute at {message.start}")
        start = message.start + (9 if version == 3 else 8)
        pieces = []
        for number in range(3):
            size = self._whole(message.start + 2 + 2 * number, 2)
            pieces.append(Piece(start, size))
            start += (size + 7) // 8 * 8 if version == 1 else size
        if start > message.end:
            raise ValueError(f"it is damaged: the attribute at {message.start} has no end")
        name, kind, space = pieces
        return Attribute(name, kind, space, Piece(start, message.end - start))

    def _attribute_texts(self, attribute: Attribute, name: str) -> list[bytes]:
        shape = self._shape(attribute.space.start, sum(attribute.space))
        kind = attribute.kind.start
        category, width = self._whole(kind, 1) & 15, self._whole(kind + 4, 4)
        fixed, varying = category == 3, category == 9 and self._whole(kind + 1, 1) & 15 == 1
        count, (start, size) = math.prod(shape), attribute.content
        if shape == (0,):  # h5py stores an empty list as numbers
            return []
        if len(shape) > 1 or not (fixed or varying) or (varying and width != 16):
            raise ValueError(f"its attribute {name!r} is no list of texts")
        if not width or count * width > size:
            raise ValueError(f"its attribute {name!r} claims {count} texts of {width} bytes in {size}")
        self._spend(count * width)
        places = range(start, start + count * width, width)
        if fixed:
            return [self._take(place, width).rstrip(b"\0") for place in places]
        return [
            self._heap_text(self._whole(place, 4), self._whole(place + 4, 8), self._whole(place + 12, 4))
            for place in places
        ]

    def _heap_text(self, size: int, heap: int, number: int) -> bytes:
        """A text of varying length: so many bytes of an entry of a heap."""
        if heap not in self._heaps:
            self._heaps[heap] = dict(self._heap_entries(heap))
        start, held = self._heaps[heap].get(number, Piece(0, -1))
        if size > held:
            raise ValueError(f"it is damaged: a text of {size} bytes is not in the heap at {heap}")
        self._spend(size)
        return self._take(start, size)

    def _heap_entries(self, heap: int) -> Iterator[tuple[int, Piece]]:
        """Number, place and size of each entry: a row of them, each as long as it says."""
        self._expect(heap, b"GCOL", 1)
        place, end = heap + 16, heap + self._whole(heap + 8, 8)
        while place + 16 <= end:
            self._step()
            number, size = self._whole(place, 2), self._whole(place + 8, 8)
            if not number:  # what is free is last
                return
            yield number, Piece(place + 16, size)
            place += 16 + (size + 7) // 8 * 8
            if place > end:
                raise ValueError("it is damaged: a heap of its texts cannot be walked along")
