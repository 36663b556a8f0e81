"""Part `rooms`: rooms alone, by Google Benchmark; also with flushing forced on."""
import json
import os
import subprocess

from sides import find_built


def times(program, quick, environment):
    command = [program, "--benchmark_format=json", f"--benchmark_min_time={0.02 if quick else 0.2}", "--benchmark_repetitions=3",
               "--benchmark_report_aggregates_only=true"]
    done = subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True, text=True)
    found = {}
    for row in json.loads(done.stdout)["benchmarks"]:
        if row.get("aggregate_name") == "median":
            found[row["run_name"]] = 1e9 / row["items_per_second"] if "items_per_second" in row else row["cpu_time"]
    return found


def measure_rooms(place, options):
    program = find_built(options.build, "pmemfile-bench-rooms")
    plain, flushed = times(program, options.quick, {}), times(program, options.quick, {"FORCE_FLUSH": "1"})
    rows = []
    for name, ns in plain.items():
        room, what = name.split("/", 1)
        rows.append({"room": room, "what": what.replace(", bytes/", " ").replace(" 4096", " 4 KiB").replace(" 1048576", " 1 MiB") , "ns": ns, "flushed_ns": flushed[name]})
        print(f"  {room:10} {rows[-1]['what']:45} {ns:10.0f} ns", flush=True)
    return {"rows": rows}
