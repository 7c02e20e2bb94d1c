#!/usr/bin/env python3
"""selfcheck_model.py CORPUS.jsonl...  - an independent, virtual-time model of the
rules of OTP's supervisors.  It never talks to Erlang; it checks that the corpus
can be replayed from SCENARIO.md alone (format complete, outcomes race-free).
Prints the first difference of every scenario that does not match, and exits 1
if there is one; with --split FILE such scenarios are moved to that file instead.
"""
import json, sys
INF = float("inf")


def shut(node, kind):
    s = node.get("shutdown", 5000 if kind == "worker" else "infinity")
    return INF if s == "infinity" else s


class Proc:
    def __init__(s, w, path, node, parent):
        s.w, s.path, s.node, s.parent, s.alive = w, path, node, parent, True
        s.kind = node.get("type", "worker")
        s.kids, s.order, s.mail, s.stamps = {}, [], [], []
        s.kidno = 0


class Kid:                      # a child record
    def __init__(s, node, cid):
        s.node, s.id, s.proc, s.state = node, cid, None, "undefined"
        s.restart = node.get("restart", "permanent")
        s.sig = node.get("significant", False)
        s.type = node.get("type", "worker")
        s.shutdown = shut(node, s.type)
        s.dead = None           # reason, when its exit notice is still queued


class World:
    def __init__(w, sc):
        w.everseen = set()
        w.sc, w.now, w.att, w.cur, w.out, w.orph = sc, 0, {}, {}, [], []
        w.sink = None

    def emit(w, **e):
        w.sink.append(e)

    # ---- starting -------------------------------------------------------
    def start(w, node, parent, ppath):
        path = f"{ppath}/{node['id']}" if ppath else node["id"]
        w.emit(e="start", p=path)
        k = w.att[id(node)] = w.att.get(id(node), 0) + 1
        script = node.get("init", ["ok"])
        o = script[min(k, len(script)) - 1]
        p = Proc(w, path, node, parent)

        def fail(r):
            w.emit(e="fail", p=path, r=r)
            return "error", r, None
        if o == "ignore":
            w.emit(e="ignored", p=path)
            return "ignore", None, None
        if isinstance(o, dict) and "info" not in o:
            return fail(o)
        if p.kind == "supervisor" and "children" in node and node["strategy"] not in ("simple_one_for_one", "dynamic"):
            ids, auto = set(), node.get("auto_shutdown", "never")
            for c in node["children"]:
                if bad_spec(c, auto):
                    return fail({"start_spec": "bad_combination"})
                if c["id"] in ids:
                    return fail({"start_spec": {"duplicate_id": c["id"]}})
                ids.add(c["id"])
            for c in node["children"]:
                p.kids[c["id"]] = Kid(c, c["id"])
                p.order.append(c["id"])
            bad = w.start_kids(p, list(p.order))
            if bad:
                w.stop_kids(p, list(reversed(p.order)), INF)
                p.alive = False
                return fail({"shutdown": {"failed_to_start_child": list(bad)}})
        w.emit(e="up", p=path)
        w.cur[path] = p
        w.everseen.add(path)
        return "ok", (o["info"] if isinstance(o, dict) else None), p

    def start_kids(w, sup, ids):
        for i in ids:
            kid = sup.kids[i]
            st, r, p = w.start(kid.node, sup, sup.path)
            if st == "error":
                w.report(sup, "start_error", r, kid)
                return i, r
            if st == "ignore":
                if kid.restart == "temporary":
                    w.forget(sup, i)
                else:
                    kid.state, kid.proc = "undefined", None
            else:
                kid.state, kid.proc, kid.dead = "running", p, None
        return None

    def forget(w, sup, i):
        sup.kids.pop(i)
        sup.order.remove(i)

    def report(w, sup, ctx, r, kid=None, n=None):
        e = dict(e="report", p=sup.path, ctx=ctx, r=r)
        if n:
            e["n"] = n
        else:
            e["id"] = kid.node["id"]
        w.emit(**e)

    # ---- stopping -------------------------------------------------------
    def down(w, p, r):
        p.alive = False
        w.emit(e="down", p=p.path, r=r)
        if w.cur.get(p.path) is p:
            del w.cur[p.path]

    def killed(w, sup, r="killed"):
        """a supervisor was killed: its children are on their own"""
        w.down(sup, r)
        w.orphans(sup)

    def orphans(w, sup):
        save, t = w.sink, w.now
        w.sink = w.orph
        for k in list(sup.kids.values()):
            if k.proc and k.proc.alive:
                if k.proc.kind == "worker":
                    w.down(k.proc, "killed")
                else:
                    w.end_sup(k.proc, INF)
                    w.down(k.proc, getattr(k.proc, "stopping", None) or "killed")
        w.sink, w.now = save, t

    def accept(w, kid, r, dyn):
        perm = kid.restart == "permanent"
        sh = isinstance(r, dict) and "shutdown" in r
        if kid.shutdown == "brutal_kill":
            if dyn == "dynamic":
                return r == "killed"
            return r == "killed" or not perm and (r in ("shutdown", "normal") or sh)
        if dyn == "dynamic":
            return r == "shutdown" or sh or r == "normal" and not perm
        return r == "shutdown" or not perm and (r == "normal" or sh)

    def stop_proc(w, kid, kill_at):
        """shutdown protocol; returns reason or None when the stopping supervisor is itself killed"""
        p = kid.proc
        if kid.shutdown == "brutal_kill":
            if p.kind == "worker":
                w.down(p, "killed")
            else:
                w.killed(p)
            return "killed"
        dead_at = w.now + kid.shutdown
        if p.kind == "worker":
            st = p.node.get("stop")
            end = INF if st == "ignore" else w.now + (st or {}).get("after_ms", 0)
            r = (st or {}).get("reason", "shutdown") if st != "ignore" else None
            if end <= min(dead_at, kill_at) and end < INF:
                w.now = end
                w.down(p, r)
                return r
            if dead_at <= kill_at:
                w.now = dead_at
                w.down(p, "killed")
                return "killed"
            w.now = kill_at
            return None
        p.stopping = "shutdown"
        if w.end_sup(p, min(dead_at, kill_at)):
            w.down(p, "shutdown")
            return "shutdown"
        if dead_at <= kill_at:
            w.killed(p)
            return "killed"
        return None

    def stop_one(w, sup, kid, kill_at=INF):
        """True if the child is gone, reports included"""
        if kid.dead is not None:
            r, kid.dead = kid.dead, None
            sup.mail = [m for m in sup.mail if not (m[0] == "exit" and m[1] is kid.proc)]
        else:
            r = w.stop_proc(kid, kill_at)
            if r is None:
                return False
        if not w.accept(kid, r, sup.node["strategy"]):
            w.report(sup, "shutdown_error", r, kid)
        return True

    def stop_kids(w, sup, ids, kill_at):
        for i in ids:
            kid = sup.kids[i]
            if kid.state == "running":
                if not w.stop_one(sup, kid, kill_at):
                    return False
            if kid.restart == "temporary":
                w.forget(sup, i)
            else:
                kid.state, kid.proc = "undefined", None
        return True

    def end_sup(w, sup, kill_at):
        """terminate all children; False when time is up"""
        st = sup.node["strategy"]
        if st not in ("simple_one_for_one", "dynamic"):
            return w.stop_kids(sup, list(reversed(sup.order)), kill_at)
        t0, tmax, errs, set_ = w.now, w.now, [], []
        keep, w.sink = w.sink, set_
        cut = False
        for kid in list(sup.kids.values()):
            if kid.state != "running":
                continue
            w.now = t0
            if kid.dead is not None:
                r = kid.dead
                if st == "dynamic" and not (r == "normal" and kid.restart != "permanent") or \
                   st != "dynamic" and not w.accept(kid, r, st):
                    errs.append((r, kid))
                continue
            r = w.stop_proc(kid, kill_at)
            if r is None:
                cut = True
            else:
                if not w.accept(kid, r, st):
                    errs.append((r, kid))
                tmax = max(tmax, w.now)
        w.sink, w.now = keep, (kill_at if cut else tmax)
        w.unordered(set_)
        if cut:
            return False
        reps = []
        w.sink = reps
        if st == "dynamic":
            for r, kid in errs:
                w.report(sup, "shutdown_error", r, kid)
        else:
            for r in {json.dumps(r): r for r, _ in errs}.values():
                w.report(sup, "shutdown_error", r, n=sum(1 for x, _ in errs if x == r))
        w.sink = keep
        w.unordered(reps)
        return True

    def unordered(w, evs):
        if w.sink is w.orph or len(evs) < 2:
            w.sink.extend(evs)
        else:
            w.emit(e="unordered", of=evs)

    def finish(w, sup, r):
        """orderly end of a supervisor on its own account"""
        w.end_sup(sup, INF)
        w.down(sup, r)
        w.notify(sup, r)

    def notify(w, p, r):
        if p.parent and p.parent.alive:
            for k in p.parent.kids.values():
                if k.proc is p:
                    k.dead = r
            p.parent.mail.append(("exit", p, r))

    # ---- supervisor loop ---------------------------------------------------
    def run(w):
        busy = True
        while busy:
            busy = False
            for p in list(w.allsups()):
                while p.alive and p.mail and not p.__dict__.get("paused"):
                    busy = True
                    w.handle(p, p.mail.pop(0))

    def allsups(w):
        return [p for p in w.cur.values() if p.kind == "supervisor"]

    def handle(w, sup, m):
        if m[0] == "exit":
            for i, k in list(sup.kids.items()):
                if k.proc is m[1] and k.state == "running":
                    k.dead = None
                    return w.exited(sup, i, k, m[2])
        elif m[0] == "retry":
            k = sup.kids.get(m[1])
            if k and k.state == "restarting" and k is m[2]:
                w.restart(sup, m[1], k)
        else:
            m[2].append(w.api(m[1], sup))

    def exited(w, sup, i, k, r):
        soft = r in ("normal", "shutdown") or isinstance(r, dict) and "shutdown" in r
        if k.restart == "permanent" or not soft:
            w.report(sup, "child_terminated", r, k)
        if k.restart == "permanent" or k.restart == "transient" and not soft:
            return w.restart(sup, i, k)
        w.gone(sup, i, k)
        auto = sup.node.get("auto_shutdown", "never")
        if auto != "never" and k.sig and (auto == "any_significant" or
                                          not any(x.sig and x.state != "undefined" for x in sup.kids.values())):
            w.finish(sup, "shutdown")

    def gone(w, sup, i, k):
        k.proc = None
        if k.restart == "temporary" or sup.node["strategy"] in ("simple_one_for_one", "dynamic"):
            w.forget(sup, i)
        else:
            k.state = "undefined"

    def restart(w, sup, i, k):
        n, st = sup.node, sup.node["strategy"]
        sup.stamps = [t for t in sup.stamps if w.now - t <= n["period"] * 1000] + [w.now]
        if len(sup.stamps) > n["intensity"]:
            w.report(sup, "shutdown", "reached_max_restart_intensity", k)
            w.gone(sup, i, k)
            return w.finish(sup, "shutdown")
        if st in ("one_for_one", "simple_one_for_one", "dynamic"):
            s, r, p = w.start(k.node, sup, sup.path)
            if s == "ok":
                k.state, k.proc = "running", p
            elif s == "ignore":
                if st == "dynamic":
                    w.forget(sup, i)
                else:
                    k.state, k.proc = "undefined", None
            else:
                k.state = "restarting"
                w.report(sup, "start_error", r, k)
                sup.mail.append(("retry", i, k))
            return
        k.state, k.proc = "undefined", None
        ids = sup.order[sup.order.index(i):] if st == "rest_for_one" else list(sup.order)
        w.stop_kids(sup, list(reversed(ids)), INF)
        bad = w.start_kids(sup, [x for x in ids if x in sup.kids])
        if bad:
            f = sup.kids[bad[0]]
            f.state = "restarting"
            sup.mail.append(("retry", bad[0], f))

    # ---- API ---------------------------------------------------------------
    def api(w, s, sup):
        op, st = s["op"], sup.node["strategy"]
        dyn = st in ("simple_one_for_one", "dynamic")
        if op == "which_children":
            if dyn:
                return {"unordered": [[k.id if k.state == "running" else None, k.state, k.type] for k in sup.kids.values()]}
            return [[i, sup.kids[i].state, sup.kids[i].type] for i in reversed(sup.order)]
        if op == "count_children":
            ks = list(sup.kids.values())
            return dict(specs=1 if st == "simple_one_for_one" else len(ks),
                        active=sum(k.state == "running" and k.dead is None or dyn and k.state == "running" for k in ks),
                        supervisors=sum(k.type == "supervisor" for k in ks), workers=sum(k.type == "worker" for k in ks))
        if op == "start_child":
            c = s["child"]
            node = c
            if st == "simple_one_for_one":
                pass
            elif not dyn:
                if bad_spec(c, sup.node.get("auto_shutdown", "never")):
                    return {"error": {"spec": "bad_combination"}}
                old = sup.kids.get(c["id"])
                if old:
                    return {"error": "already_started" if old.state == "running" else "already_present"}
            elif len(sup.kids) >= sup.node.get("max_children", INF):
                return {"error": "max_children"}
            r, info, p = w.start(node, sup, sup.path)
            if r == "error":
                return {"error": {"start": info}}
            k = Kid(c, c["id"])
            if st == "simple_one_for_one":
                t = sup.node["template"]
                k.restart, k.sig, k.shutdown = t.get("restart", "permanent"), t.get("significant", False), shut(t, "worker")
            if r == "ignore":
                if st == "dynamic":
                    return "ignore"
                if not dyn and k.restart != "temporary":
                    sup.kids[c["id"]] = k
                    sup.order.append(c["id"])
                return {"ok": None}
            k.state, k.proc = "running", p
            sup.kids[c["id"]] = k
            sup.order.append(c["id"])
            return {"ok": p.path, **({"info": info} if info is not None else {})}
        k = sup.kids.get(s["id"])
        if st == "simple_one_for_one" and (op in ("restart_child", "delete_child") or s.get("by") == "id"):
            return {"error": "simple_one_for_one"}
        if not k:
            if op == "terminate_child" and st == "simple_one_for_one" and f"{sup.path}/{s['id']}" in w.everseen:
                return "ok"
            return {"error": "not_found"}
        if op == "terminate_child":
            if k.state == "running":
                if st == "dynamic" and k.dead is not None:
                    sup.mail = [m for m in sup.mail if not (m[0] == "exit" and m[1] is k.proc)]
                    if not (k.dead == "normal" and k.restart != "permanent"):
                        w.report(sup, "shutdown_error", k.dead, k)
                else:
                    w.stop_one(sup, k)
            w.gone(sup, s["id"], k)
            return "ok"
        if op == "get_childspec":
            x = k.shutdown
            return {"ok": dict(id=k.id, restart=k.restart, significant=k.sig, type=k.type, shutdown="infinity" if x == INF else x)}
        if k.state != "undefined":
            return {"error": k.state}
        if op == "delete_child":
            w.forget(sup, s["id"])
            return "ok"
        r, info, p = w.start(k.node, sup, sup.path)
        if r == "error":
            return {"error": {"start": info}}
        if r == "ignore":
            return {"ok": None}
        k.state, k.proc = "running", p
        return {"ok": p.path, **({"info": info} if info is not None else {})}

    # ---- steps ---------------------------------------------------------------
    def die(w, s, run=True):
        p = w.cur.get(s["path"])
        if not p:
            return {"error": "not_running"}
        if s["op"] == "stop":
            p.stopping = s["reason"]
            w.end_sup(p, INF)
            w.down(p, s["reason"])
            w.notify(p, s["reason"])
        elif s["reason"] == "kill":
            (w.killed if p.kind == "supervisor" else w.down)(p, "killed")
            w.notify(p, "killed")
        else:
            w.down(p, s["reason"])
            w.notify(p, s["reason"])
        return "ok"

    def step(w, s):
        op, tree = s["op"], w.sc["tree"]
        if op == "boot":
            r, x, p = w.start(tree, None, "")
            return {"ok": "ok", "ignore": "ignore"}.get(r) or {"error": x}
        if op == "sleep":
            w.now += s["ms"]
            return "ok"
        if op == "shutdown":
            p = w.cur.get(tree["id"])
            if not p:
                return "not_running"
            w.finish(p, "shutdown")
            return "ok"
        if op in ("exit", "stop"):
            r = w.die(s)
            w.run()
            return r
        sup = w.cur.get(s["sup"])
        if not sup:
            return {"error": "noproc"}
        if op != "batch":
            r = w.api(s, sup)
            w.run()
            return r
        res, sup.paused = [], True
        for it in s["items"]:
            if it["op"] in ("exit", "stop"):
                res.append([w.die(it)])
            else:
                box = []
                sup.mail.append(("call", it, box))
                res.append(box)
        sup.paused = False
        w.run()
        return [b[0] if b else {"error": "noproc"} for b in res]


def bad_spec(c, auto):
    return c.get("significant") and (auto == "never" or c.get("restart", "permanent") == "permanent")


def canon(x):
    if isinstance(x, dict):
        return {k: (sorted((canon(y) for y in v), key=lambda z: json.dumps(z, sort_keys=True)) if k in ("of", "orphans", "unordered") else canon(v))
                for k, v in x.items()}
    return [canon(y) for y in x] if isinstance(x, list) else x


def main():
    ok = bad = 0
    args, split = sys.argv[1:], None
    if "--split" in args:       # move scenarios that differ to another file
        i = args.index("--split")
        split = args[i + 1]
        del args[i:i + 2]
    for f in args:
        good, odd = [], []
        for line in open(f):
            sc = json.loads(line)
            w = World(sc)
            for n, (s, want) in enumerate(zip(sc["steps"], sc["trace"])):
                w.out, w.orph = [], []
                w.sink = w.out
                try:
                    r = w.step(s)
                except Exception as e:
                    r = "EXC " + repr(e)
                got = {"result": r, "events": w.out}
                if w.orph:
                    got["orphans"] = w.orph
                if canon(got) != canon(want):
                    bad += 1
                    if bad < 15:
                        print("DIFF", sc["id"], "step", n, json.dumps(s)[:300])
                        print("  want", json.dumps(canon(want))[:1500])
                        print("  got ", json.dumps(canon(got))[:1500])
                    break
            else:
                ok += 1
                good.append(line)
                continue
            odd.append(line)
        if split and odd:
            open(f, "w").writelines(good)
            open(split, "a").writelines(odd)
    print(f"{ok} scenarios reproduced by the model, {bad} differ")
    return 0 if split else bad


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
