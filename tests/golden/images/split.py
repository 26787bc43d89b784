#!/usr/bin/env python3
"""The rule by which the original code splits pictures (rhymes-ai/Aria, vision_processor.py), once more, in NumPy: prints split.tsv.

Columns: width and height of a picture, side M of the canvas, columns and rows of the tiles, number of crops, CRC-32 of all canvases [M][M][3] one
behind the other. "-" for the last: only the choice of tiles is compared. Sample (x, y, c) of a picture is (7x + 13y + 61c + (c + 1)(x y // 5)) % 256.
"""
import zlib
import numpy as np

RATIOS = [(1, 2), (1, 3), (1, 4), (1, 5), (1, 6), (1, 7), (1, 8), (2, 4), (2, 3), (2, 2), (2, 1), (3, 1), (3, 2), (4, 1), (4, 2), (5, 1), (6, 1),
          (7, 1), (8, 1)]
MIN_SIDE = 336


def sample(w, h):
    y, x, c = np.mgrid[0:h, 0:w, 0:3]
    return ((7 * x + 13 * y + 61 * c + (c + 1) * (x * y // 5)) % 256).astype(np.uint8)


def bicubic(x):
    x, a = np.abs(x), -0.5
    return np.where(x < 1, ((a + 2) * x - (a + 3)) * x * x + 1, np.where(x < 2, (((x - 5) * x + 8) * x - 4) * a, 0))


def matrix(m, n):
    """Pillow's weights from m to n samples, in units of 2**-22."""
    scale = m / n
    wide = max(scale, 1.0)
    out = np.zeros((n, m), np.int64)
    for i in range(n):
        centre = (i + 0.5) * scale
        lo, hi = max(int(centre - 2 * wide + 0.5), 0), min(int(centre + 2 * wide + 0.5), m)
        k = bicubic((np.arange(lo, hi) - centre + 0.5) / wide)
        k = k / np.cumsum(k)[-1] * (1 << 22)
        out[i, lo:hi] = np.trunc(k + np.where(k < 0, -0.5, 0.5)).astype(np.int64)
    return out


def rounded(sums):
    return np.clip((sums + (1 << 21)) >> 22, 0, 255)


def resize(a, w, h):
    """Across, then down. In float64 the products and sums of integers are exact."""
    a = a.astype(np.float64)
    if a.shape[1] != w:
        a = rounded(np.einsum("nm,ymc->ync", matrix(a.shape[1], w).astype(np.float64), a, optimize=True).astype(np.int64)).astype(np.float64)
    if a.shape[0] != h:
        a = rounded(np.einsum("nm,mxc->nxc", matrix(a.shape[0], h).astype(np.float64), a, optimize=True).astype(np.int64)).astype(np.float64)
    return a.astype(np.uint8)


def canvas(a, M):
    h, w = a.shape[:2]
    s = M / max(w, h)
    nw, nh = (M, max(int(h * s), MIN_SIDE)) if w >= h else (max(int(w * s), MIN_SIDE), M)
    out = np.zeros((M, M, 3), np.uint8)
    out[:nh, :nw] = resize(a, nw, nh)
    return out


def choose(w, h, M):
    best, gap = (1, 1), float("inf")
    for r in RATIOS:
        d = abs(w / h - r[0] / r[1])
        if d < gap:
            best, gap = r, d
        elif d == gap and w * h > 0.5 * M * M * r[0] * r[1]:
            best = r
    return best


def crops(a, M):
    rw, rh = choose(a.shape[1], a.shape[0], M)
    big = resize(a, M * rw, M * rh)
    return [canvas(a, M)] + [canvas(big[y * M:(y + 1) * M, x * M:(x + 1) * M], M) for y in range(rh) for x in range(rw)]


def main():
    for w, h, M in (768, 768, 490), (300, 211, 490), (97, 401, 490), (1900, 240, 490), (640, 480, 980), (1250, 1000, 490), (500, 400, 490), (3, 2, 490):
        all_ = crops(sample(w, h), M)
        crc = zlib.crc32(b"".join(c.tobytes() for c in all_))
        print(w, h, M, *choose(w, h, M), len(all_), "%08x" % crc, sep="\t")
    seen = set()
    r = np.random.default_rng(5)
    ties = [(w, h) for w, h in ((5, 4), (5, 2), (7, 2), (9, 2), (1, 2), (2, 1), (4, 2), (7, 12), (5, 12), (7, 24), (3, 8), (9, 40), (11, 60), (13, 84), (15, 112))]
    for w, h in ties:               # half way between two quotients, or on one that stands twice; small pictures and large
        for k in 1, 40, 150, 225, 226, 400:
            seen.add((w * k, h * k))
    for _ in range(150):
        seen.add(tuple(int(v) for v in np.exp(r.uniform(0, np.log(9000), 2))))
    for w, h in sorted(seen):
        for M in 490, 980:
            rw, rh = choose(w, h, M)
            print(w, h, M, rw, rh, rw * rh + 1, "-", sep="\t")


main()
