"""What workers, fan-out and housekeeping share about Redis streams."""

from __future__ import annotations

__all__ = ["TRIM", "consumer_group"]

TRIM = """
local bound_ms, bound_number
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local about = {}
  for i = 1, #group, 2 do about[group[i]] = group[i + 1] end
  local oldest = redis.call('XPENDING', KEYS[1], about['name'], '-', '+', 1)[1]
  local id = oldest and oldest[1] or about['last-delivered-id']
  local ms, number = string.match(id, '(%d+)-(%d+)')
  ms, number = tonumber(ms), tonumber(number)
  if not oldest then number = number + 1 end
  if not bound_ms or ms < bound_ms or (ms == bound_ms and number < bound_number) then
    bound_ms, bound_number = ms, number
  end
end
local trimmed = 0
if bound_ms then
  trimmed = redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f-%.0f', bound_ms, bound_number))
end
"""
"""Lua that removes the oldest entries of the stream ``KEYS[1]``, up to the first one that any of its groups
has not read or not acknowledged; ``trimmed`` is their number.

Entries leave by XTRIM, never by XDEL: Redis no longer reports the lag of a group whose last entry was
deleted, and KEDA starts no worker without it.
"""


def consumer_group(instrument: str) -> str:
    """Return the name of the consumer group of an instrument's workers.

    Parameters
    ----------
    instrument
        Short name.
    """
    return f"{instrument.lower()}_consumer_group"
