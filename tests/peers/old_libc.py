"""Lets a library load where libc is older than the one that it was linked with.

A wheel of a peer asks for a version of libc for functions that it can do without (their symbols are
weak). The loader refuses it all the same, unless the demand for the version is marked as weak, too.
That mark is all that is changed, and only if every symbol of the version is weak.
"""

import ctypes
import struct

SECTION_DYNSYM, SECTION_VERSYM, SECTION_VERNEED = 11, 0x6FFFFFFF, 0x6FFFFFFE
WEAK_VERSION, WEAK_SYMBOL, HIDDEN = 2, 2, 0x8000


def here():
    """The version of this machine's libc, such as (2, 36)."""
    version = ctypes.CDLL("libc.so.6").gnu_get_libc_version
    version.restype = ctypes.c_char_p
    return number(version().decode())


def number(text):
    return tuple(int(part) for part in text.split("."))


def sections(data):
    """Offset, size, index of the linked section and count of each section, by its type."""
    (start,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    found, places = {}, []
    for index in range(count):
        at = start + index * size
        (kind,) = struct.unpack_from("<I", data, at + 4)
        offset, length, link, info = struct.unpack_from("<QQII", data, at + 0x18)
        places.append(offset)
        found[kind] = (offset, length, link, info)
    return found, places


def demands(data, section, places):
    """Each version that is asked for: place of its flags, its index, its name."""
    at, _, link, count = section
    for _ in range(count):
        _, versions, _, first, following = struct.unpack_from("<HHIII", data, at)
        version = at + first
        for _ in range(versions):
            _, _, index, name, after = struct.unpack_from("<IHHII", data, version)
            begin = places[link] + name
            yield version + 4, index & ~HIDDEN, data[begin : data.index(0, begin)].decode()
            version += after
        at += following


def strong(data, found, index):
    """Does a symbol that is not weak need the version with this index?"""
    symbols, length, _, _ = found[SECTION_DYNSYM]
    versions = found[SECTION_VERSYM][0]
    for place in range(length // 24):
        (version,) = struct.unpack_from("<H", data, versions + 2 * place)
        (info,) = struct.unpack_from("<B", data, symbols + 24 * place + 4)
        if version & ~HIDDEN == index and info >> 4 != WEAK_SYMBOL:
            return True
    return False


def adapt(path):
    """Marks demands for versions that this machine's libc does not have. A strong one raises."""
    data = bytearray(path.read_bytes())
    found, places = sections(data)
    for flags, index, name in list(demands(data, found[SECTION_VERNEED], places)):
        if not name.startswith("GLIBC_2.") or number(name.removeprefix("GLIBC_")) <= here():
            continue
        if strong(data, found, index):
            raise RuntimeError(f"{path.name} needs {name}, libc here is {'.'.join(map(str, here()))}")
        (old,) = struct.unpack_from("<H", data, flags)
        struct.pack_into("<H", data, flags, old | WEAK_VERSION)
    path.write_bytes(data)
