"""Faults of a compiler in the tables of the world outside, as changes to what it compiled."""

from __future__ import annotations

from faults import both, dropped, edit, every, has, replaced, with_actions, without_terms
from outside_arena import NODE_PORTS
from outside_edits import (
    FROM_GATEWAY,
    RELATED,
    OutsideFault,
    exec_without,
    is_nobodys,
    is_prefix_row,
    is_probe,
    is_service_of_node,
    key,
    leads_back,
    prioritised,
    shortest_first,
    to_another_entry,
    to_host,
    to_next_port,
    wide,
    without,
    without_nat,
    without_permit,
)

from lace_sdn.openflow.actions import InPort, Move, Output, Resubmit, SetField
from lace_sdn.openflow.fields import (
    CT_STATE,
    ETH_DST,
    IPV4_DST,
    IPV4_SRC,
    IPV6_DST,
    IPV6_SRC,
    REG,
    TCP_DST,
    TCP_SRC,
    TUN_ID,
    UDP_DST,
)
from lace_sdn.openflow.match import ct_state, term
from lace_sdn.pipeline import tables
from lace_sdn.pipeline.constants import GATEWAY_PORT, HOST_KEY, SECOND_ZONE, Priority
from lace_sdn.pipeline.outside_rows import FROM_HOST
from lace_sdn.pipeline.registers import (
    DESTINATION_NETWORK,
    DESTINATION_ZONE,
    ENTERED,
    ENTRY,
    INITIATOR,
    INITIATOR_CLASS,
    LOCAL_CHOICE,
    LOOKUP,
    OUTPUT_ZONE,
    OWN_PORT,
    RESPONDER,
    SOURCE_NETWORK,
    SOURCE_ZONE,
)
from lace_sdn.pipeline.registers import SECOND_ZONE as IN_SECOND_ZONE

OUTSIDE_FAULTS = (
    OutsideFault(
        "the way in from the node's stack dropped", edit(tables.CLASSIFIER, has(FROM_GATEWAY), dropped)
    ),
    OutsideFault(
        "what comes from the node's stack in a pod's zone",
        edit(
            tables.CLASSIFIER, has(FROM_GATEWAY), replaced(SOURCE_ZONE.set(GATEWAY_PORT), SOURCE_ZONE.set(1))
        ),
    ),
    OutsideFault(
        "errors about answers not led on",
        edit(
            tables.SOURCE_STATE,
            lambda flow: flow.priority == RELATED and has(ct_state("+rel-rpl+trk"))(flow),
            dropped,
        ),
    ),
    OutsideFault(
        "errors about requests not led on",
        edit(
            tables.SOURCE_STATE,
            lambda flow: flow.priority == RELATED and has(ct_state("+rel+rpl+trk"))(flow),
            dropped,
        ),
    ),
    OutsideFault(
        "errors permitted by nobody",
        edit(tables.SOURCE_STATE, prioritised(RELATED), without(Resubmit(tables.PERMIT_ESTABLISHED.number))),
    ),
    OutsideFault(
        "answers of the world not looked up in the second zone",
        edit(tables.RETURN_ZONE, has(FROM_HOST), without(IN_SECOND_ZONE.set(1))),
    ),
    OutsideFault(
        "answers of the world in no pod's zone",
        edit(
            tables.RETURN_ZONE,
            lambda flow: has(FROM_HOST)(flow) and flow.priority == Priority.LOW,
            with_actions(lambda each: None if isinstance(each, Move) else each),
        ),
    ),
    OutsideFault(
        "a NodePort's packets in a pod's zone",
        edit(
            tables.RETURN_ZONE,
            lambda flow: has(FROM_HOST)(flow) and flow.priority == Priority.NORMAL,
            dropped,
        ),
    ),
    OutsideFault(
        "NodePorts not known by the address that the node's stack calls",
        edit(tables.NODE_ADDRESS, has(FROM_HOST), dropped),
    ),
    OutsideFault(
        "NodePorts known to pods by the address that the node's stack calls",
        edit(tables.NODE_ADDRESS, has(FROM_HOST), wide(REG[0])),
    ),
    OutsideFault(
        "the world not asked about by pods",
        edit(tables.DESTINATION_NETWORK, prioritised(Priority.DEFAULT), dropped),
    ),
    OutsideFault(
        "an address in no Network is in the last one asked about",
        edit(tables.OUTSIDE, prioritised(Priority.DEFAULT), dropped),
    ),
    OutsideFault(
        "out by the stack forgotten",
        edit(tables.OUTPUT, lambda flow: Output(GATEWAY_PORT) in flow.actions, dropped),
    ),
    OutsideFault(
        "back into the stack forgotten",
        edit(tables.OUTPUT, lambda flow: InPort() in flow.actions and to_host(flow), dropped),
    ),
    OutsideFault("pods may speak to tunnels", edit(tables.OUTSIDE_EXIT, prioritised(Priority.DROP), dropped)),
    OutsideFault(
        "nobody answers the port of tunnels",
        edit(tables.OUTSIDE_EXIT, prioritised(Priority.DROP), without_terms(CT_STATE)),
    ),
    OutsideFault(
        "pods may call whomever the world has",
        both(
            edit(tables.DESTINATION_NETWORK, prioritised(Priority.DEFAULT), without_permit),
            edit(tables.DESTINATION_STATE, prioritised(Priority.NEW), without_permit),
        ),
    ),
    OutsideFault(
        "pods may speak UDP to nobody",
        edit(tables.OUTSIDE_EXIT, prioritised(Priority.DROP), without_terms(UDP_DST)),
    ),
    OutsideFault(
        "answers to the world not looked up in its zone",
        edit(
            tables.DISPATCH,
            to_host,
            with_actions(
                lambda each: (
                    DESTINATION_ZONE.set(GATEWAY_PORT + 1)
                    if each == DESTINATION_ZONE.set(GATEWAY_PORT)
                    else each
                )
            ),
        ),
    ),
    OutsideFault(
        "no translation back for the world", edit(tables.DISPATCH, to_host, with_actions(without_nat))
    ),
    OutsideFault(
        "calls of the world in the pod's first zone",
        edit(tables.DISPATCH, to_host, without(OUTPUT_ZONE.set(1))),
    ),
    OutsideFault(
        "answers from a tunnel in no zone of the stack",
        edit(tables.DISPATCH, lambda flow: to_host(flow) and flow.priority == Priority.NORMAL, dropped),
    ),
    OutsideFault(
        "new connections leave without a masquerade",
        both(
            edit(tables.DESTINATION_COMMIT, prioritised(Priority.OWN_CONNECTION), dropped),
            edit(tables.ZONE, every, wide(CT_STATE)),
        ),
    ),
    OutsideFault(
        "no masquerade",
        edit(tables.DESTINATION_COMMIT, prioritised(Priority.OUTWARD), with_actions(without_nat)),
    ),
    OutsideFault(
        "the masquerade of the next port",
        edit(tables.DESTINATION_COMMIT, prioritised(Priority.OUTWARD), with_actions(to_next_port)),
    ),
    OutsideFault(
        "no masquerade for the world's own calls",
        edit(tables.DESTINATION_COMMIT, has(DESTINATION_ZONE.equals(SECOND_ZONE | GATEWAY_PORT)), dropped),
    ),
    OutsideFault(
        "one masquerade for all pods",
        edit(tables.DESTINATION_COMMIT, has(DESTINATION_ZONE.equals(SECOND_ZONE | 1)), wide(REG[3])),
    ),
    OutsideFault(
        "sources classified by the shortest prefix",
        edit(tables.SENDER_OUTSIDE, is_prefix_row, shortest_first),
    ),
    OutsideFault(
        "destinations classified by the shortest prefix", edit(tables.OUTSIDE, is_prefix_row, shortest_first)
    ),
    OutsideFault(
        "inner addresses are sources in the world", edit(tables.SENDER_OUTSIDE, is_nobodys, dropped)
    ),
    OutsideFault("inner addresses are destinations in the world", edit(tables.OUTSIDE, is_nobodys, dropped)),
    OutsideFault(
        "no route to a Network outside",
        edit(tables.ROUTE, has(DESTINATION_NETWORK.equals(key("world"))), dropped),
    ),
    OutsideFault(
        "routed out whatever Network the address is in now",
        edit(tables.OUTSIDE_ROUTE, prioritised(Priority.LOW), without_terms(REG[11])),
    ),
    OutsideFault(
        "whose an address is not looked up for a route",
        edit(tables.ROUTE, every, without(Resubmit(tables.OUTSIDE.number))),
    ),
    OutsideFault(
        "hosts outside taken for pods of the network that they call",
        both(
            edit(tables.SERVICE_GATE, has(FROM_HOST), dropped),
            edit(tables.SOURCE_GATE, has(FROM_HOST), dropped),
        ),
    ),
    OutsideFault("the node before believed", edit(tables.TUNNEL_SOURCE, prioritised(Priority.LOW), dropped)),
    OutsideFault(
        "who came in by another node is whoever has the address now",
        edit(tables.TUNNEL_IDENTITY, every, without_terms(REG[11])),
    ),
    OutsideFault("nobody comes in by another node", edit(tables.TUNNEL_IDENTITY, every, dropped)),
    OutsideFault("answers leave by the node of the pod", edit(tables.OUTSIDE_EXIT, leads_back, dropped)),
    OutsideFault("answers leave by another node", edit(tables.OUTSIDE_EXIT, leads_back, to_another_entry)),
    OutsideFault(
        "who entered not written", edit(tables.DESTINATION_COMMIT, every, exec_without(ENTERED.slice))
    ),
    OutsideFault(
        "who entered not known",
        edit(
            tables.CLASSIFIER,
            every,
            with_actions(
                lambda each: None if isinstance(each, SetField) and each.field is ENTRY.field else each
            ),
        ),
    ),
    OutsideFault(
        "connections by different nodes are taken for one",
        edit(tables.TUPLE_CHECK, prioritised(Priority.LOW), dropped),
    ),
    OutsideFault(
        "a stream that was moved is lost",
        edit(tables.OTHER_CONNECTION_STATE, prioritised(Priority.TRANSLATED), dropped),
    ),
    OutsideFault(
        "what a connection with a port of its own answers comes from nobody",
        edit(tables.SOURCE_ZONE_CHECK, has(OWN_PORT.equals(1)), dropped),
    ),
    OutsideFault(
        "answers of whatever Network outside",
        edit(tables.PERMIT_ESTABLISHED, has(RESPONDER.equals(key("corp"))), wide(REG[1])),
    ),
    OutsideFault(
        "calls of whatever Network outside",
        edit(tables.PERMIT_ESTABLISHED, has(INITIATOR.equals(key("corp"))), wide(REG[1])),
    ),
    OutsideFault(
        "answers to the world not taken from tunnels",
        edit(tables.TUNNEL_DECODE, has(term(TUN_ID, key("corp"))), dropped),
    ),
    OutsideFault(
        "Services of the underlay closed to their own Network",
        edit(
            tables.PERMIT,
            lambda flow: flow.priority == Priority.SELF and has(SOURCE_NETWORK.equals(key("base")))(flow),
            dropped,
        ),
    ),
    OutsideFault(
        "NodePorts unknown to pods",
        edit(
            tables.NODE_ADDRESS,
            lambda flow: not has(FROM_HOST)(flow) and flow.priority == Priority.NORMAL,
            dropped,
        ),
    ),
    OutsideFault(
        "nodes' addresses are nodes' where pods have them",
        edit(tables.NODE_ADDRESS, prioritised(Priority.DROP), dropped),
    ),
    OutsideFault(
        "a NodePort that nobody may use is the stack's",
        edit(tables.SERVICE_VIP, lambda flow: is_service_of_node(flow) and not flow.actions, dropped),
    ),
    OutsideFault("NodePorts without a gate", edit(tables.SERVICE_VIP, is_service_of_node, without_permit)),
    OutsideFault(
        "a NodePort's number at every address",
        edit(
            tables.SERVICE_VIP,
            lambda flow: is_service_of_node(flow) and has(term(TCP_DST, NODE_PORTS["web"]))(flow),
            without_terms(REG[0]),
        ),
    ),
    OutsideFault(
        "NodePorts of another Network",
        edit(
            tables.SERVICE_VIP,
            is_service_of_node,
            replaced(DESTINATION_NETWORK.set(key("bob")), DESTINATION_NETWORK.set(key("cat"))),
        ),
    ),
    OutsideFault(
        "nodes are hosts to their own NodePorts",
        edit(tables.SERVICE_PORT, prioritised(Priority.NODE_PORT_OF_OWN), dropped),
    ),
    OutsideFault(
        "pods are hosts to NodePorts",
        edit(tables.SERVICE_PORT, prioritised(Priority.NODE_PORT_OF_PODS), dropped),
    ),
    OutsideFault(
        "hosts are pods to NodePorts",
        edit(tables.SERVICE_PORT, prioritised(Priority.NODE_PORT_OF_PODS), without_terms(REG[0])),
    ),
    OutsideFault(
        "affinity before externalTrafficPolicy",
        edit(tables.SERVICE_PORT, every, without(LOCAL_CHOICE.set(1))),
    ),
    OutsideFault(
        "no way back to the node itself",
        edit(tables.ROUTE, has(DESTINATION_NETWORK.equals(HOST_KEY)), dropped),
    ),
    OutsideFault(
        "the node itself has no class", edit(tables.POLICY_CLASS, has(LOOKUP.equals(HOST_KEY)), dropped)
    ),
    OutsideFault(
        "probes end after their first packet",
        edit(tables.PERMIT_ESTABLISHED, has(INITIATOR.equals(HOST_KEY)), dropped),
    ),
    OutsideFault(
        "answers to probes that are none any more",
        edit(
            tables.PERMIT_ESTABLISHED,
            lambda flow: has(INITIATOR.equals(HOST_KEY))(flow) and not flow.actions,
            dropped,
        ),
    ),
    OutsideFault(
        "answers to probes by every port",
        edit(
            tables.PERMIT_ESTABLISHED,
            lambda flow: flow.match.get(TCP_SRC) is not None,
            without_terms(TCP_SRC),
        ),
    ),
    OutsideFault(
        "what a node may, every class may",
        edit(tables.PERMIT, has(INITIATOR_CLASS.equals(HOST_KEY)), wide(REG[7])),
    ),
    OutsideFault("no Network is probed", edit(tables.PERMIT, has(INITIATOR_CLASS.equals(HOST_KEY)), dropped)),
    OutsideFault("probes of every port", edit(tables.OUTSIDE_SOURCE, is_probe, wide(TCP_DST))),
    OutsideFault("probes from everywhere", edit(tables.OUTSIDE_SOURCE, is_probe, wide(IPV4_SRC, IPV6_SRC))),
    OutsideFault("probes of every pod", edit(tables.OUTSIDE_SOURCE, is_probe, wide(IPV4_DST, IPV6_DST))),
    OutsideFault(
        "probed pods not found",
        edit(tables.DESTINATION_NETWORK, has(SOURCE_NETWORK.equals(HOST_KEY)), dropped),
    ),
    OutsideFault(
        "to the node's stack with the MAC of nobody",
        edit(
            tables.OUTSIDE_EXIT,
            every,
            with_actions(
                lambda each: (
                    SetField(ETH_DST, 0x020000000F00)
                    if isinstance(each, SetField) and each.field is ETH_DST
                    else each
                )
            ),
        ),
    ),
)
