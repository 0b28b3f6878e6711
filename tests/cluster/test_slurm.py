"""The Slurm profile on a real, one-host Slurm cluster that the test starts itself (Debian's slurm-wlm and munge, no accounting)."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = Path("/etc/slurm")

pytestmark = pytest.mark.skipif(
    os.environ.get("POISONLAB_TEST_SLURM") != "1",
    reason="starts Slurm's daemons and writes /etc/slurm: set POISONLAB_TEST_SLURM=1 on a throw-away machine, as root",
)

SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation={state}/ctld
SlurmdSpoolDir={state}/d
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/slurmd.pid
SlurmctldLogFile={state}/slurmctld.log
SlurmdLogFile={state}/slurmd.log
AccountingStorageType=accounting_storage/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
GresTypes=gpu
MinJobAge=300
ReturnToService=2
NodeName={host} CPUs={cpus} RealMemory=12000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A running one-host cluster with two pretended GPUs."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sinfo") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{missing} are not installed: apt-get install slurm-wlm munge")
    if (CONFIGURATION / "slurm.conf").exists() and "ClusterName=test\n" not in (
        CONFIGURATION / "slurm.conf"
    ).read_text():
        pytest.skip("this machine belongs to a Slurm cluster, whose configuration is not touched")
    state = tmp_path_factory.mktemp("slurm")
    for folder in ("ctld", "d"):
        (state / folder).mkdir()
    host = socket.gethostname().split(".")[0]
    CONFIGURATION.mkdir(exist_ok=True)
    (CONFIGURATION / "slurm.conf").write_text(SLURM_CONF.format(host=host, state=state, cpus=os.cpu_count()))
    # A fake device must be a file that exists; a bare Count would put the node in state INVAL.
    (CONFIGURATION / "gres.conf").write_text("Name=gpu Type=fake File=/dev/tty[0-1]\n")
    os.makedirs("/run/munge", exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    daemons = [
        subprocess.Popen(["runuser", "-u", "munge", "--", "munged", "--foreground", "--force"]),
        subprocess.Popen(["slurmctld", "-D", "-i"]),
        subprocess.Popen(["slurmd", "-D"]),
    ]
    try:
        until = time.monotonic() + 60
        while (
            "idle"
            not in subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False).stdout
        ):
            assert time.monotonic() < until, (state / "slurmctld.log").read_text()
            time.sleep(1)
        yield state
    finally:
        for daemon in reversed(daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in daemons:
            daemon.wait(timeout=30)
        for name in ("slurm.conf", "gres.conf"):
            (CONFIGURATION / name).unlink()


def test_the_slurm_profile_runs_an_experiment_on_a_cluster(cluster, tmp_path):
    """A data set and a proxy go through Slurm as jobs of their own."""
    profile = tmp_path / "profile"
    shutil.copytree(ROOT / "profiles" / "slurm", profile)
    settings = (profile / "config.yaml").read_text()
    # Wait less than on a real cluster before the first look: the test's jobs take seconds.
    (profile / "config.yaml").write_text(
        settings.replace("status-checks: 20", "status-checks: 5").replace("latency-wait: 60", "latency-wait: 20")
    )
    target = "results/proxies/digits01.safetensors"
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", target, "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path),
         "--workflow-profile", str(profile), "--configfile", str(ROOT / "tests/config/smoke.yaml")],
        capture_output=True, text=True, timeout=400, check=False, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    assert (tmp_path / target).is_file()
    assert run.stderr.count("has been submitted with SLURM jobid") == 2
