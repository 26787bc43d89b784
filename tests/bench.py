#!/usr/bin/env python3
"""bench.py BIN: speed and memory of the programs in BIN on the 180 reference crops, repeated to 1,000. Every round runs everything once, so
that the machine's moods hit all alike; medians of the rounds are printed. tesseract is measured beside them when it is installed."""
import os, shutil, statistics, subprocess, sys, tempfile, time

ROUNDS, CROPS = 5, 1000
binaries = os.path.abspath(sys.argv[1])
here = os.path.dirname(os.path.abspath(__file__))
crops = sorted(os.path.join(here, "golden/crops", f) for f in os.listdir(os.path.join(here, "golden/crops")))
truth = dict(line.rstrip("\n").split("\t", 1) for line in open(os.path.join(here, "golden/crops.tsv")))
work = tempfile.mkdtemp()
names = os.path.join(work, "crops.txt")
environment = dict(os.environ, PATH=binaries + ":" + os.environ["PATH"], OMP_THREAD_LIMIT="1", MOE_MODEL=os.path.join(here, "../share/models/read"))
LAYERS = 4


def tree_memory(root):
    """Proportional set size of a process and its descendants, in MiB."""
    pids, total = [root], 0
    while pids:
        pid = pids.pop()
        try:
            pids += map(int, open(f"/proc/{pid}/task/{pid}/children").read().split())
            for line in open(f"/proc/{pid}/smaps_rollup"):
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            pass
    return total / 1024


def run(command, memory=False):
    """Seconds, output, peak memory of a shell command."""
    start, peak = time.perf_counter(), 0
    with open(os.path.join(work, "out"), "w+") as out:
        p = subprocess.Popen(["bash", "-c", "exec " + command if "|" not in command else command], stdout=out, stderr=subprocess.DEVNULL, env=environment, cwd=work)
        while memory and p.poll() is None:
            peak = max(peak, tree_memory(p.pid))
            time.sleep(0.02)
        p.wait()
        seconds = time.perf_counter() - start
        out.seek(0)
        return seconds, out.read(), peak


def pipeline(wanted):
    stages = "".join(f" | moe-attend {wanted} -t 1 -l {l} | moe-route -t 1 -l {l} | moe-expert -t 1 -l {l}" for l in range(LAYERS))
    return (f"rm -f loop; mkfifo loop; moe-tokenize -t 1 --files-from {names} --generate --loop loop --window 192 | moe-patchify -t 1 --files-from {names} |"
            f" moe-encode -t 1 | moe-embed -t 1{stages} | moe-decode -t 1 --loop loop")


def exact(lines):
    pairs = [line.split("\t", 1) for line in lines.splitlines() if "\t" in line]
    return sum(truth[os.path.basename(n)] == t for n, t in dict(pairs).items())


def tesseract():
    pages = run(f"tesseract {names}.180 - --psm 7")[1].split("\f")
    return sum(truth[os.path.basename(c)] == page.strip() for c, page in zip(crops, pages))


def main():
    with open(names, "w") as f:
        f.writelines(crops[i % len(crops)] + "\n" for i in range(CROPS))
    with open(names + ".180", "w") as f:
        f.writelines(c + "\n" for c in crops)
    jobs = {
        "moe-run, one crop, cold start": (f"moe-run {crops[0]}", 1),
        "moe-run, 1 thread": (f"moe-run -t 1 --files-from {names}", CROPS),
        "moe-run, 1 thread, AVX2 only": (f"moe-run -t 1 --cpu avx2 --files-from {names}", CROPS),
        "moe-run, 2 threads": (f"moe-run -t 2 --files-from {names}", CROPS),
        "pipeline of 17 processes": (pipeline(""), CROPS),
        "the same with --only-wanted": (pipeline("--only-wanted"), CROPS),
    }
    if shutil.which("tesseract"):
        jobs["tesseract --psm 7, 1 thread"] = (f"tesseract {names}.180 - --psm 7", len(crops))
    times = {name: [] for name in jobs}
    for _ in range(ROUNDS):
        for name, (command, n) in jobs.items():
            repeats = 10 if n == 1 else 1
            times[name] += [run(command)[0] for _ in range(repeats)]
    for name, (_, n) in jobs.items():
        t = statistics.median(times[name])
        print(f"{name:34}" + (f"{1000 * t:8.1f} ms" if n == 1 else f"{n / t:8.0f} crops/s") + f"   (least {1000 * min(times[name]):.1f} ms, most {1000 * max(times[name]):.1f} ms)")
    ratio = statistics.median(a / b for a, b in zip(times["moe-run, 2 threads"], times["the same with --only-wanted"]))
    print(f"pipeline's throughput over moe-run's, pair by pair: {ratio:.2f}")
    for threads in 1, 2:
        print(f"peak memory of moe-run, {threads} threads, all its processes: {run(f'moe-run -t {threads} --files-from {names}', True)[2]:.1f} MiB")
    print(f"exact: moe-run {exact(run(f'moe-run --files-from {names}')[1])} of {len(crops)}" + (f", tesseract {tesseract()}" if shutil.which("tesseract") else ""))


try:
    main()
finally:
    shutil.rmtree(work)
