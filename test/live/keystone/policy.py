"""What oslo.policy makes of rules: on stdin a list of [rule, [roles, ...]], on stdout booleans."""

import json
import sys

from oslo_config import cfg
from oslo_policy import policy

cfg.CONF([], project="nova")
enforcer = policy.Enforcer(cfg.CONF, use_conf=False)
answers = []
for rule, them in json.load(sys.stdin):
    rules = policy.Rules.from_dict({"it": rule, "mine": "role:a or role:b"})
    enforcer.set_rules(rules, overwrite=True)
    answers.append([bool(enforcer.enforce("it", {}, {"roles": roles})) for roles in them])
print(json.dumps(answers))
