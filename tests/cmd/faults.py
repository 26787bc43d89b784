#!/usr/bin/env python3
"""faults.py: makes broken streams, models and pictures for the tests of faults, with the standard library only and a generator of its own.

faults.py stream IN OUT CODE          reads a stream, runs CODE on it, writes it with fresh CRCs
faults.py damage IN DIR N SEED        N copies of IN in DIR, each cut off (cut-*) or with one bit flipped (flip-*)
faults.py model IN OUT CODE           copies a model directory, with CODE run on its files
faults.py fields IN DIR               copies of a model, each with one wrong value in config.json
faults.py picture OUT CODE...         writes the bytes that the expression CODE gives; pairs of OUT and CODE

CODE sees the functions below. A frame is {"meta": {key: value}, "tensors": {name: [dtype, shape, bytes]}}; frame("routed") finds one."""
import gzip, io, json, os, random, struct, sys, tarfile, textwrap, zipfile, zlib

FORMS = {"F32": "f", "I32": "i", "U8": "B", "I64": "q"}

# ---- streams ----

def parse(data):
    """The frames of a stream, without padding."""
    frames, at = [], 0
    while at < len(data):
        n, = struct.unpack_from("<Q", data, at)
        header, at = json.loads(data[at + 8:at + 8 + n]), at + 8 + n
        f = {"meta": header.pop("__metadata__", {}), "tensors": {}}
        size = 0
        for name, t in header.items():
            begin, end = t["data_offsets"]
            size = max(size, end)
            if name != "_pad":
                f["tensors"][name] = [t["dtype"], t["shape"], bytearray(data[at + begin:at + end])]
        at += size
        frames.append(f)
    return frames

def text_of(f):
    """The header of a frame as JSON, with zeros for the CRC. "raw", a function of that text, may spoil it."""
    header, at = {"__metadata__": dict(f["meta"])}, 0
    if any(k.startswith("moe.") for k in f["meta"]):
        header["__metadata__"]["moe.crc32"] = "00000000"
    for name, (dtype, shape, data) in f["tensors"].items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False)
    return f.get("raw", lambda t: t)(text)

def format_frame(f):
    text = text_of(f).encode()
    text += b" " * (-(len(text) + 8) % 64)
    data = bytearray(struct.pack("<Q", len(text)) + text + b"".join(bytes(t[2]) for t in f["tensors"].values()))
    digits = data.find(b'"moe.crc32":"00000000"')
    if digits >= 0 and f.get("crc", True):
        data[digits + 13:digits + 21] = b"%08x" % zlib.crc32(data)
    return bytes(data)

def number(f, key, value):
    f["meta"][key] = str(value)

def put(f, name, index, value):
    """Sets one value of a tensor; a slice or a list of indices sets several."""
    dtype, _, data = f["tensors"][name]
    form = FORMS[dtype]
    size = struct.calcsize(form)
    if isinstance(index, slice):
        index = range(*index.indices(len(data) // size))
    for i in index if hasattr(index, "__iter__") else [index]:
        struct.pack_into("<" + form, data, i * size, value)

def get(f, name):
    dtype, _, data = f["tensors"][name]
    return list(struct.unpack("<%d%s" % (len(data) // struct.calcsize(FORMS[dtype]), FORMS[dtype]), data))

def fill(dtype, shape, value=0):
    n = 1
    for x in shape:
        n *= x
    return [dtype, shape, bytearray(struct.pack("<%d%s" % (n, FORMS[dtype]), *[value] * n))]

def new_frame(kind, tensors={}, **meta):
    return {"meta": {"moe.kind": kind, **{"moe." + k: str(v) for k, v in meta.items()}}, "tensors": dict(tensors)}

def run_stream(source, target, code):
    frames = parse(open(source, "rb").read())

    def frame(kind, n=0):
        return [f for f in frames if f["meta"].get("moe.kind") == kind][n]

    def drop(kind, n=0):
        frames.remove(frame(kind, n))

    def count():
        """Makes the end frame's counts true again, for faults that lie elsewhere."""
        body = [f for f in frames if f["meta"]["moe.kind"] != "end"]
        kinds = ("tokens", "hidden", "routed", "logits", "text", "failed")
        number(frame("end"), "moe.frames", len(body))
        number(frame("end"), "moe.sequences", len({f["meta"].get("moe.seq") for f in body if f["meta"]["moe.kind"] in kinds}))
        number(frame("end"), "moe.failed", len([f for f in body if f["meta"]["moe.kind"] == "failed"]))

    names = dict(globals(), frames=frames, frame=frame, drop=drop, count=count, nan=float("nan"), inf=float("inf"))
    exec(textwrap.dedent(code), names)
    with open(target, "wb") as out:
        for f in names["frames"]:
            out.write(format_frame(f))

def run_damage(source, folder, n, seed):
    data, rnd = open(source, "rb").read(), random.Random(seed)
    os.makedirs(folder, exist_ok=True)
    for i in range(n):
        if rnd.random() < 0.5:
            at = rnd.randrange(len(data))
            name, damaged = "cut-%d" % at, data[:at]
        else:
            bit = rnd.randrange(8 * len(data))
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            name = "flip-%d.%d" % (bit // 8, bit % 8)
        with open(os.path.join(folder, name), "wb") as out:
            out.write(damaged)

# ---- models ----

def write_safetensors(path, f, change=lambda b: b):
    text = text_of(f).encode()
    data = struct.pack("<Q", len(text)) + text + b"".join(bytes(t[2]) for t in f["tensors"].values())
    with open(path, "wb") as out:
        out.write(change(data))

def run_model(source, target, code):
    """CODE sees config, other JSON files by load(NAME) and save(NAME, value), the weights' `tensors`, `weights`, write(NAME, bytes), and shard(N)."""
    os.makedirs(target)
    for name in os.listdir(source):
        os.symlink(os.path.join(os.path.abspath(source), name), os.path.join(target, name))

    def write(name, data):
        path = os.path.join(target, name)
        if os.path.lexists(path):
            os.remove(path)
        with open(path, "wb") as out:
            out.write(data if isinstance(data, (bytes, bytearray)) else data.encode())

    def load(name):
        return json.load(open(os.path.join(source, name)))

    def save(name, value):
        write(name, json.dumps(value))

    def remove(name):
        os.remove(os.path.join(target, name))

    weights = parse(open(os.path.join(source, "model.safetensors"), "rb").read())[0]
    before = json.dumps(weights, default=lambda b: zlib.crc32(b))
    config = load("config.json")
    old_config = json.dumps(config)

    def shard(n):
        """Divides the weights over n files with an index."""
        items, index = list(weights["tensors"].items()), {}
        for i in range(n):
            part = dict(items[i::n])
            name = "model-%05d-of-%05d.safetensors" % (i + 1, n)
            write_safetensors(os.path.join(target, name), {"meta": {}, "tensors": part})
            index.update({k: name for k in part})
        remove("model.safetensors")
        save("model.safetensors.index.json", {"metadata": {}, "weight_map": index})
        return index

    names = dict(globals(), **{k: v for k, v in locals().items() if k in
                 ("config", "weights", "write", "load", "save", "remove", "shard", "target")}, tensors=weights["tensors"])
    exec(textwrap.dedent(code), names)
    if json.dumps(config) != old_config:
        save("config.json", config)
    if "raw" in weights or json.dumps(weights, default=lambda b: zlib.crc32(b)) != before:
        remove("model.safetensors")
        write_safetensors(os.path.join(target, "model.safetensors"), weights)

def run_fields(source, folder):
    """One copy of the model for each field of config.json (also inside objects and lists) and each wrong value of it, in folder/FIELD=VALUE."""
    config = json.load(open(os.path.join(source, "config.json")))

    def places(node, path):
        for key in node if isinstance(node, dict) else range(len(node)):
            yield path + [key]
            if isinstance(node[key], (dict, list)):
                yield from places(node[key], path + [key])

    values = {"absent": None, "null": "null", "text": '"x"', "zero": "0", "negative": "-1", "one": "1", "huge": "2147483648", "wraps": "18446744073709551617",
              "real": "1e308", "list": "[]", "object": "{}", "true": "true", "false": "false", "same": "same"}
    for place in list(places(config, [])):
        for word, value in values.items():
            changed = json.loads(json.dumps(config))
            node = changed
            for key in place[:-1]:
                node = node[key]
            if value is None:
                node.pop(place[-1])
            elif value != "same":
                node[place[-1]] = "@@@"
            path = os.path.join(folder, ".".join(map(str, place)) + "=" + word)
            os.makedirs(path)
            for name in os.listdir(source):
                if name != "config.json":
                    os.symlink(os.path.join(os.path.abspath(source), name), os.path.join(path, name))
            with open(os.path.join(path, "config.json"), "w") as out:
                out.write(json.dumps(changed).replace('"@@@"', value or ""))

# ---- pictures ----

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

def png(width, height, rows=None, depth=8, colour=2, interlace=0, extra=b"", level=9):
    """A PNG that claims width x height; `rows` are its unpacked bytes (default: white, as many as claimed)."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    if rows is None:
        rows = (b"\0" + b"\xff" * ((width * channels * depth + 7) // 8)) * height
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)) + extra
            + chunk(b"IDAT", zlib.compress(rows, level)) + chunk(b"IEND", b""))

def jpeg(width, height, tables=b"", scan=b"\0" * 16):
    """The frame of a baseline JPEG, grey, with tables and a scan of one's own."""
    def segment(mark, data):
        return b"\xff" + bytes([mark]) + struct.pack(">H", len(data) + 2) + data
    return (b"\xff\xd8" + segment(0xdb, b"\0" + b"\1" * 64) + segment(0xc0, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")
            + (tables or segment(0xc4, b"\0" + b"\1" + b"\0" * 15 + b"\0") + segment(0xc4, b"\x10" + b"\1" + b"\0" * 15 + b"\0"))
            + segment(0xda, b"\1\1\0\0\x3f\0") + scan + b"\xff\xd9")

def huffman(counts, symbols, slot=0):
    data = bytes([slot]) + bytes(counts) + bytes(symbols)
    return b"\xff\xc4" + struct.pack(">H", len(data) + 2) + data

# ---- archives ----

def tar(*members, form="w"):
    """A tar of (name, bytes), or of TarInfo for what is no file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=form, format=tarfile.GNU_FORMAT) as t:
        for m in members:
            if isinstance(m, tarfile.TarInfo):
                t.addfile(m)
            else:
                info = tarfile.TarInfo(m[0])
                info.size = len(m[1])
                t.addfile(info, io.BytesIO(m[1]))
    return out.getvalue()

def special(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info

def zipped(*members, store=False):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED if store else zipfile.ZIP_DEFLATED) as z:
        for name, data in members:
            z.writestr(zipfile.ZipInfo(name), data, compress_type=z.compression)
    return out.getvalue()

def encrypted(data):
    """The same zip with the flag of encryption in all its headers."""
    data, at = bytearray(data), 0
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = data.find(mark)
        while at >= 0:
            data[at + offset] |= 1
            at = data.find(mark, at + 4)
    return bytes(data)

def file(path):
    return open(path, "rb").read()

def main():
    command, args = sys.argv[1], sys.argv[2:]
    if command == "stream":
        run_stream(*args)
    elif command == "damage":
        run_damage(args[0], args[1], int(args[2]), int(args[3]))
    elif command == "model":
        run_model(*args)
    elif command == "fields":
        run_fields(*args)
    elif command == "picture":
        for path, code in zip(args[::2], args[1::2]):
            with open(path, "wb") as out:
                out.write(eval(code, globals()))
    else:
        sys.exit("faults.py: no such command: " + command)

main()
