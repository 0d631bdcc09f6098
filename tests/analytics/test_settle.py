"""Settling looks at what is new, writes what changed, and is the same however the readings arrived."""

import random
from dataclasses import replace

from conftest import ACCOUNTS, QUARTER, REGISTERS, S, at, make_site
