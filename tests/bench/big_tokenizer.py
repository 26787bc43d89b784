#!/usr/bin/env python3
"""big_tokenizer.py [TOKENS [MERGES]] > tokenizer.json: a byte-level tokenizer as large as published ones (100000 tokens, 300000 merges)."""
import itertools
import json
import sys

n_tokens = int(sys.argv[1]) if len(sys.argv) > 1 else 100000
n_merges = int(sys.argv[2]) if len(sys.argv) > 2 else 300000
printable = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
others = [b for b in range(256) if b not in printable]
alphabet = [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]
vocab = {c: i for i, c in enumerate(alphabet)}
tokens = list(alphabet)
short = (a + "".join(rest) for n in range(1, 9) for rest in itertools.product("etaoin", repeat=n) for a in "etaoin\u0120")
for token in itertools.islice(short, n_tokens - len(tokens)):  # every part of a token is a token
    vocab[token] = len(tokens)
    tokens.append(token)
pairs = ((t[:cut], t[cut:]) for t in tokens[256:] for cut in range(1, len(t)))
merges = [p for p in pairs if p[0] in vocab and p[1] in vocab][:n_merges]
json.dump({
    "version": "1.0", "truncation": None, "padding": None,
    "added_tokens": [{"id": n_tokens, "content": "<|end|>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}],
    "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "post_processor": None,
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
              "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": [list(m) for m in merges]},
}, sys.stdout, ensure_ascii=False, indent=2)
print(len(tokens), "tokens,", len(merges), "merges", file=sys.stderr)
