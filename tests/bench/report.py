"""Role: what has been measured, for people: a table, and a picture of the two ratios that matter.
Callers: bench.py.
Law: changes nothing of it.
"""


def table(rows):
    heads = ["scenario", "clients", "variant", "p50 ms", "p90 ms", "p99 ms", "jobs/s", "p50 / bare", "jobs/s / bare",
             "cpu ms a job: supervisor", "worker", "runner"]
    lines = [heads]
    for row in rows:
        cpu = row["cpu_ms_per_job"]
        lines.append([row["scenario"], str(row["clients"]), row["variant"],
                      *(f"{row[f'p{n}_ms']:.2f}" for n in (50, 90, 99)), f"{row['jobs_per_s']:.1f}",
                      f"{row['p50_to_bare']:.3f}", f"{row['jobs_per_s_to_bare']:.2f}",
                      *(f"{cpu[who]:.2f}" if who in cpu else "" for who in ("supervisor", "worker", "runner"))])
    return aligned(lines)


def memory_table(memory):
    lines = [["variant", "a parked runner: PSS MiB", "private MiB", "all processes: PSS MiB"]]
    for name, sizes in memory.items():
        numbers = [sizes[key] for key in ("runner_pss_kib", "runner_private_kib", "all_pss_kib")] if sizes else []
        lines.append([name, *(f"{n / 1024:.1f}" for n in numbers or [])] if sizes else [name, "?", "?", "?"])
    return aligned(lines)


def aligned(lines):
    """Markdown, so that it can be pasted."""
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    out = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines]
    out.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(out)


def picture(rows, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    cases = list(dict.fromkeys((row["scenario"], row["clients"]) for row in rows))
    names = [name for name in dict.fromkeys(row["variant"] for row in rows) if name != "bare"]
    figure, axes = pyplot.subplots(2, 1, figsize=(max(7, 1.1 * len(cases) + 2), 8), layout="constrained")
    for axis, key, title in ((axes[0], "p50_to_bare", "median time, bare Python = 1 (less is better)"),
                             (axes[1], "jobs_per_s_to_bare", "jobs a second, bare Python = 1 (more is better)")):
        width = 0.8 / len(names)
        for n, name in enumerate(names):
            found = {(row["scenario"], row["clients"]): row[key] for row in rows if row["variant"] == name}
            places = [(place, found[case]) for place, case in enumerate(cases) if case in found]
            axis.bar([place + n * width for place, _ in places], [value for _, value in places], width, label=name)
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set_yscale("log")
        axis.set_title(title)
        axis.set_xticks([place + 0.4 - width / 2 for place in range(len(cases))],
                        [f"{s}\n{c} clients" for s, c in cases], fontsize=8)
    axes[0].legend(fontsize=8, ncols=min(7, len(names)))
    figure.savefig(path)
