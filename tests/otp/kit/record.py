#!/usr/bin/env python3
"""record.py WORKDIR OUT.jsonl IN.jsonl... [--passes N] [--limit N] [--max-bytes B]

Records scenarios on real OTP, prunes them, re-records them N times, at most and
by default four (one scheduler idle / two schedulers under CPU load / two
schedulers idle / one scheduler under CPU load), and keeps only scenarios whose
traces all agree with each other.  Writes the survivors, with tags, to OUT.jsonl.
"""
import json, os, subprocess, sys, time, random
HERE = os.path.dirname(os.path.abspath(__file__))


def compile_oracle(work):
    """the folders of the recorder's and of Elixir's compiled code"""
    subprocess.run(["erlc", "-o", work, os.path.join(HERE, "oracle.erl")], check=True)
    where = ["elixir", "-e", "IO.puts :code.lib_dir(:elixir)"]
    lib = subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip()
    return [work, os.path.join(lib, "ebin")]


def oracle(code, inp, out, sched, par, load=0):
    print(f"   {inp}, schedulers={sched}, load={load} ...", flush=True)
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(load)]
    t = time.time()
    try:
        subprocess.run(["erl", "+S", f"{sched}:{sched}", "-noshell", "-pa", *code,
                        "-run", "oracle", "main", inp, out, str(par)], check=True)
    finally:
        for b in burners:
            b.kill()
            b.wait()
    print(f"   {time.time()-t:.1f}s", flush=True)
    return [json.loads(l) for l in open(out)]


def write(path, scs):
    with open(path, "w") as f:
        for s in scs:
            f.write(json.dumps(s, separators=(",", ":")) + "\n")


def flat(events):
    for e in events:
        if e["e"] == "unordered":
            yield from e["of"]
        else:
            yield e


def strategies(node, p=""):
    p = f"{p}/{node['id']}" if p else node["id"]
    d = {p: node["strategy"]} if node["type"] == "supervisor" else {}
    for c in node.get("children", []):
        d.update(strategies(c, p))
    return d


def prune(s):
    """drop steps that did nothing useful; None if the scenario must go"""
    if "oracle_error" in s or '"other"' in json.dumps(s["trace"]):
        return None
    kinds = strategies(s["tree"])
    steps, dead, root = [], False, s["tree"]["id"]
    keep_after_death = 1
    for st, tr in zip(s["steps"], s["trace"]):
        r = tr["result"]
        if st["op"] == "batch" and isinstance(r, list):
            items = [i for i, x in zip(st["items"], r)
                     if not (isinstance(x, dict) and x.get("error") in ("not_a_worker", "not_a_supervisor"))]
            if not items:
                continue
            st = dict(st, items=items)
        if st["op"] in ("boot", "shutdown"):
            steps.append(st)
        elif dead:
            if keep_after_death and st["op"] != "sleep":
                keep_after_death -= 1
                steps.append(st)
        elif isinstance(r, dict) and r.get("error") in ("not_a_worker", "not_a_supervisor"):
            pass
        elif isinstance(r, dict) and r.get("error") == "not_running" and random.Random(len(steps)).random() < 0.8:
            pass
        elif (st["op"] == "terminate_child" and kinds.get(st["sup"]) == "simple_one_for_one" and r == "ok"
              and not tr["events"] and not s["id"].startswith("edge/quirk")):
            pass    # OTP answers ok for a dead pid; only the quirk edge keeps this
        else:
            steps.append(st)
        if any(e["e"] == "down" and e["p"] == root for e in tr["events"]) or (st["op"] == "boot" and r != "ok"):
            dead = True
    out = {k: v for k, v in s.items() if k != "trace"}
    out["steps"] = steps
    return out


def features(s):
    f = set()
    kinds = {}

    def node(n, depth, p, parent_sup):
        p = f"{p}/{n['id']}" if p else n["id"]
        f.add("type:" + n["type"])
        if depth:
            f.add("restart:" + n.get("restart", "permanent"))
            sh = n.get("shutdown", 5000 if n["type"] == "worker" else "infinity")
            f.add("shutdown:" + (sh if isinstance(sh, str) else "ms"))
            if n.get("significant"):
                f.add("significant")
        for o in n.get("init", []):
            f.add("init:" + (o if isinstance(o, str) else list(o)[0]))
        st = n.get("stop")
        if st == "ignore":
            f.add("stop:ignores")
        elif st:
            f.add("stop:slow" if st.get("after_ms", 0) else "stop:other-reason")
        if n["type"] == "supervisor":
            kinds[p] = n["strategy"]
            f.add("strategy:" + n["strategy"])
            f.add("auto_shutdown:" + n.get("auto_shutdown", "never"))
            f.add(f"depth:{depth}")
            if "max_children" in n:
                f.add("max_children")
            if "template" in n:
                f.add("restart:" + n["template"].get("restart", "permanent"))
        for c in n.get("children", []):
            node(c, depth + 1, p, n)

    node(s["tree"], 0, "", None)

    def step(st, r):
        f.add("op:" + st["op"])
        if st["op"] in ("exit", "stop"):
            x = st["reason"]
            f.add("%s:%s" % (st["op"], x if isinstance(x, str) else list(x)[0] + "-term"))
        if "child" in st:
            node(st["child"], 1, st["sup"], None)
        if isinstance(r, dict) and "error" in r:
            e = r["error"]
            f.add("error:" + (e if isinstance(e, str) else list(e)[0]))
        if st["op"] == "batch":
            for a, b in zip(st["items"], r if isinstance(r, list) else []):
                step(a, b)

    boot = s["trace"][0]
    if boot["result"] != "ok":
        f.add("boot-failure")
        if any(e["e"] == "down" for e in flat(boot["events"])):
            f.add("boot-rollback")
    for st, tr in zip(s["steps"], s["trace"]):
        step(st, tr["result"])
        if "orphans" in tr:
            f.add("orphans")
        ev = list(flat(tr["events"]))
        if any(e["e"] == "unordered" for e in tr["events"]):
            f.add("unordered-set")
        reps = [e for e in ev if e["e"] == "report"]
        for e in reps:
            f.add("report:" + e["ctx"])
        if any(e["ctx"] == "shutdown" for e in reps):
            f.add("intensity-exceeded")
            sups = {e["p"] for e in reps if e["ctx"] == "shutdown"}
            if any("/" in p for p in sups):
                f.add("intensity-exceeded-nested")
            if len(sups) > 1:
                f.add("escalation-chain")
        if st["op"] not in ("boot", "shutdown", "stop"):
            downs = [e["p"] for e in ev if e["e"] == "down"]
            ex = {e["p"] for e in reps if e["ctx"] == "shutdown"}
            for p in downs:
                if p in kinds and p not in ex and st.get("path") != p and st["op"] in ("exit", "batch"):
                    if any(e["e"] == "down" and e["p"] == p and e["r"] == "shutdown" for e in ev):
                        f.add("sup-stopped-as-part-of-restart-or-auto_shutdown")
            if st["op"] in ("exit", "batch") and any(e["e"] == "fail" for e in ev):
                f.add("restart-failed-and-retried")
                if any(e["e"] == "fail" and e["p"] in kinds for e in ev):
                    f.add("nested-boot-failed-at-restart")
            if st["op"] in ("exit",) and any(e["e"] == "ignored" for e in ev):
                f.add("restart-ignored")
    return sorted(f)


def main():
    args, limit, maxb, passes = sys.argv[1:], None, 2_900_000, 4
    for flag in ("--limit", "--max-bytes", "--passes"):
        if flag in args:
            i = args.index(flag)
            v = int(args[i + 1])
            del args[i:i + 2]
            if flag == "--limit":
                limit = v
            elif flag == "--passes":
                passes = v
            else:
                maxb = v
    work, out, ins = args[0], args[1], args[2:]
    os.makedirs(work, exist_ok=True)
    w = lambda n: os.path.join(work, n)
    scs = [json.loads(l) for i in ins for l in open(i)]
    write(w("in0.jsonl"), scs)
    print(f"{len(scs)} generated", flush=True)
    code = compile_oracle(work)
    first = oracle(code, w("in0.jsonl"), w("pass0.jsonl"), 1, 16)
    kept = [p for p in map(prune, first) if p]
    # drop scenarios that became trivial after pruning
    kept = [s for s in kept if len(s["steps"]) > 2 or s["id"].startswith("edge/")]
    print(f"{len(kept)} after pruning", flush=True)
    write(w("in.jsonl"), kept)
    ways = [("rec-s1.jsonl", 1, 0), ("rec-s2-load.jsonl", 2, 3), ("rec-s2.jsonl", 2, 0), ("rec-s1-load.jsonl", 1, 3)]
    runs = [oracle(code, w("in.jsonl"), w(name), sched, 16, load) for name, sched, load in ways[:passes]]
    good, bad = [], []
    for v in zip(*runs):
        (good if all(x == v[0] for x in v) and "trace" in v[0] else bad).append(v)
    print(f"{len(good)} deterministic over {len(runs)} runs, {len(bad)} dropped:")
    for v in bad:
        diff = [k for k in range(1, len(runs)) if v[k] != v[0]]
        print("   dropped", v[0]["id"], "runs that differ from run 0:", diff)
    write(w("dropped.jsonl"), [x for v in bad for x in v])
    res, size, seen = [], 0, set()
    for v in good:
        s = v[0]
        s["tags"] = features(s)
        key = json.dumps([s["tree"], s["steps"]], sort_keys=True)
        b = len(json.dumps(s, separators=(",", ":"))) + 1
        if key in seen or (limit and len(res) >= limit) or size + b > maxb:
            continue
        seen.add(key)
        s = {k: s[k] for k in ("id", "tags", "tree", "steps", "trace")}
        res.append(s)
        size += b
    os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
    write(out, res)
    print(f"{len(res)} scenarios, {size} bytes -> {out}")


if __name__ == "__main__":
    main()
