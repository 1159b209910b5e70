"""The steps of the walk: one class each, in the order in which they are walked."""

from steps import flow, judged, lease, policies, receivers, warehouse

BEFORE = [flow.Flow, flow.Killed, flow.Drained, flow.Resharded, receivers.SecondReader, receivers.RefusedTopic, policies.Policies]
# Once for each kind of warehouse.
OF_WAREHOUSE = [warehouse.Loads, warehouse.Times, warehouse.Queries, warehouse.Pause]
AFTER = [lease.Restored, judged.Counted, judged.Oracle]
ALL = [*BEFORE, *OF_WAREHOUSE, *AFTER]
