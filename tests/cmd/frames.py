"""Streams in Python's standard library alone, written from moe-stream(5) and not from the C code, so that the tests have a second opinion.

    frames.py check FILE...         every frame is a safetensors file as the reference reads it, and the stream keeps its own account
    frames.py strip <A >B           what a foreign program leaves: no CRCs, no padding, no counts
    frames.py drop-end <A >B        the stream without its end frame
    frames.py count NAME <A         sum of the sizes of that tensor's first axis
    frames.py data NAME <A          the bytes of that tensor of all frames, one after the other
"""
import json
import struct
import sys
import zlib

BITS = {"BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64}


def no_twins(pairs):
    assert len({k for k, _ in pairs}) == len(pairs), "a key stands twice"
    return dict(pairs)


def parse(raw):
    """One safetensors file -> (meta, {name: (dtype, shape, bytes)}). Strict: no gaps, no overlaps, nothing left over."""
    n, = struct.unpack_from("<Q", raw)
    assert n <= 100_000_000 and 8 + n <= len(raw) and raw[8:9] == b"{", "no header"
    head = json.loads(raw[8:8 + n].decode("utf-8"), object_pairs_hook=no_twins)
    meta = head.pop("__metadata__", {})
    assert all(isinstance(v, str) for v in meta.values()), "metadata are strings"
    at = 0
    for name, t in sorted(head.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = t["data_offsets"]
        size = BITS[t["dtype"]] // 8
        for axis in t["shape"]:
            size *= axis
        assert first == at and last - first == size, f"{name}: bytes {first} to {last}, expected {at} to {at + size}"
        at = last
    assert 8 + n + at == len(raw), "bytes behind the tensors"
    return meta, {k: (t["dtype"], t["shape"], raw[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]]) for k, t in head.items()}


def split(f):
    """The frames of a stream as bytes."""
    while size := f.read(8):
        header = f.read(struct.unpack("<Q", size)[0])
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        yield size + header + f.read(max((t["data_offsets"][1] for t in tensors.values()), default=0))


def build(meta, tensors):
    """A frame as a stock writer makes it: no CRC, no padding."""
    head, at = {"__metadata__": meta} if meta else {}, 0
    for name, (dtype, shape, data) in tensors.items():
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values())


def check(path):
    frames = sequences = failed = 0
    kind = None
    with open(path, "rb") as f:
        for raw in split(f):
            meta, tensors = parse(raw)
            kind = meta["moe.kind"]
            header = 8 + struct.unpack_from("<Q", raw)[0]
            crc = meta["moe.crc32"]
            blank = raw[:header].replace(b'"moe.crc32":"%s"' % crc.encode(), b'"moe.crc32":"00000000"')
            assert raw.count(crc.encode()) == 1 and zlib.crc32(blank + raw[header:]) == int(crc, 16), "CRC"
            assert header % 64 == 0 and len(raw) % 64 == 0, "payload and frame are aligned"
            sizes = [BITS[t[0]] for name, t in tensors.items() if name != "_pad"]
            assert sizes == sorted(sizes, reverse=True), "the largest elements come first"
            if kind == "head":
                assert frames == 0 and meta["moe.stream"] == "1.0", "one head, first"
            elif kind == "end":
                assert int(meta["moe.frames"]) == frames and int(meta["moe.failed"]) == failed, f"{meta} after {frames} frames, {failed} failed"
                sequences += int(meta["moe.sequences"])
                frames = failed = -1
            failed += kind == "failed"
            frames += 1
            failed = max(failed, 0)
    assert kind == "end", "the stream has an end"
    return sequences


def main(what, *args):
    data, out = sys.stdin.buffer, sys.stdout.buffer
    if what == "check":
        for path in args:
            check(path)
    elif what == "strip":
        for raw in split(data):
            meta, tensors = parse(raw)
            for key in ("moe.crc32", "moe.frames", "moe.sequences", "moe.failed"):
                meta.pop(key, None)
            tensors.pop("_pad", None)
            out.write(build(meta, dict(sorted(tensors.items()))))
    elif what == "drop-end":
        for raw in split(data):
            if parse(raw)[0]["moe.kind"] != "end":
                out.write(raw)
    elif what == "data":
        for raw in split(data):
            out.write(parse(raw)[1].get(args[0], ("", [], b""))[2])
    elif what == "count":
        print(sum(t[1][0] for raw in split(data) for name, t in parse(raw)[1].items() if name == args[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
