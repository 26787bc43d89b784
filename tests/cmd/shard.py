"""shard.py NAME: a shard of training data, a tar, of lines of JSON: {"stem": of the members' names, "picture": a path, "sample": an object}."""
import io
import json
import os
import sys
import tarfile


def put(tar, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


with tarfile.open(sys.argv[1], "w") as tar:
    for line in sys.stdin:
        row = json.loads(line)
        with open(row["picture"], "rb") as f:
            put(tar, row["stem"] + os.path.splitext(row["picture"])[1], f.read())
        put(tar, row["stem"] + ".json", json.dumps(row["sample"]).encode())
