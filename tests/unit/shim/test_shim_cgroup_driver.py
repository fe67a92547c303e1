"""How groups are named under each driver, and which driver is taken."""

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.cgroup_driver import CgroupDriver, choose, group_of

FS, SYSTEMD = CgroupDriver.CGROUPFS, CgroupDriver.SYSTEMD
POD_SLICE = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice"


@pytest.mark.parametrize(
    ("driver", "parent", "pod", "container", "runc"),
    [
        (FS, "/kubepods/pod1", "/kubepods/pod1", "/kubepods/pod1/c1", "/kubepods/pod1/c1"),
        (FS, "kubepods/pod1/", "/kubepods/pod1", "/kubepods/pod1/c1", "/kubepods/pod1/c1"),
        (FS, "", "", "/navarch/c1", "/navarch/c1"),
        (FS, "/", "", "/navarch/c1", "/navarch/c1"),
        (SYSTEMD, "a.slice", "/a.slice", "/a.slice/navarch-c1.scope", "a.slice:navarch:c1"),
        (SYSTEMD, "a-b.slice", "/a.slice/a-b.slice", "/a.slice/a-b.slice/navarch-c1.scope", "a-b.slice:navarch:c1"),
        (
            SYSTEMD,
            POD_SLICE,
            POD_SLICE,
            f"{POD_SLICE}/navarch-c1.scope",
            "kubepods-burstable-pod1_2.slice:navarch:c1",
        ),
        (SYSTEMD, "", "", "/system.slice/navarch-c1.scope", "system.slice:navarch:c1"),
        (SYSTEMD, "-.slice", "", "/system.slice/navarch-c1.scope", "system.slice:navarch:c1"),
    ],
)
def test_names(driver: CgroupDriver, parent: str, pod: str, container: str, runc: str) -> None:
    driver.check_parent(parent)
    assert driver.pod_group(parent) == pod
    assert driver.container_group(parent, "c1") == container
    assert driver.runc_path(parent, "c1") == runc
    assert group_of(runc) == container


@pytest.mark.parametrize(
    ("driver", "parent", "words"),
    [(FS, "/a.slice", "a slice of systemd: the cgroup driver is cgroupfs"), (SYSTEMD, "/a/b", "a path, not a slice")],
)
def test_a_parent_for_the_other_driver_is_refused(driver: CgroupDriver, parent: str, words: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=words):
        driver.check_parent(parent)


def test_the_choice() -> None:
    assert choose("auto", systemd_runs=True) is choose("systemd", systemd_runs=True) is SYSTEMD
    assert choose("auto", systemd_runs=False) is choose("cgroupfs", systemd_runs=False) is FS
    assert choose("cgroupfs", systemd_runs=True) is FS
    with pytest.raises(ValueError, match="systemd does not run on this host"):
        choose("systemd", systemd_runs=False)
    assert SYSTEMD.cri == criv1.CgroupDriver.SYSTEMD
    assert FS.cri == criv1.CgroupDriver.CGROUPFS
