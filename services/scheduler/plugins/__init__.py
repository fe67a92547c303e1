"""The filters and scorers, and the order in which they are asked.

Cheap filters that refuse much come first: the first refusal of a node ends its questioning.
"""

from navarch.services.scheduler.framework import Filter, Scorer
from navarch.services.scheduler.plugins.image_locality import ImageLocality
from navarch.services.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from navarch.services.scheduler.plugins.node_affinity import NodeAffinity, NodeAffinityScore
from navarch.services.scheduler.plugins.node_name import NodeName
from navarch.services.scheduler.plugins.node_ports import NodePorts
from navarch.services.scheduler.plugins.node_resources import LeastAllocated, NodeResourcesFit
from navarch.services.scheduler.plugins.node_unschedulable import NodeUnschedulable
from navarch.services.scheduler.plugins.pod_topology_spread import PodTopologySpread, Spreading
from navarch.services.scheduler.plugins.taint_toleration import TaintToleration, TaintTolerationScore

FILTERS: tuple[Filter, ...] = (
    NodeUnschedulable(),
    NodeName(),
    TaintToleration(),
    NodeAffinity(),
    NodePorts(),
    NodeResourcesFit(),
    PodTopologySpread(),
    InterPodAffinity(),
)

SCORERS: tuple[Scorer, ...] = (
    TaintTolerationScore(),
    NodeAffinityScore(),
    LeastAllocated(),
    Spreading(),
    ImageLocality(),
)
