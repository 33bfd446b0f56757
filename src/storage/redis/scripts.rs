//! What Redis does in one step. Each script touches one slot.

use std::sync::OnceLock;

/// A script that Redis keeps by its sum.
pub(super) struct Script {
    pub(super) source: &'static str,
    sum: OnceLock<String>,
}

impl Script {
    const fn new(source: &'static str) -> Self {
        Self { source, sum: OnceLock::new() }
    }

    pub(super) fn sum(&self) -> &str {
        self.sum.get_or_init(|| redis::Script::new(self.source).get_hash().to_owned())
    }
}

/// Draws the fence of a resource, made if there is none or if it is older than what was cleared
/// away. Keys: the resource. Arguments: a new fence, how long it stays, the floor.
/// Gives the fence and the index.
pub(super) static ENTER: Script = Script::new(
    r"
local fence = redis.call('HGET', KEYS[1], 'g')
if fence and string.sub(fence, 1, 16) < ARGV[3] then
  redis.call('UNLINK', KEYS[1])
  fence = false
end
if not fence then
  fence = ARGV[1]
  redis.call('HSET', KEYS[1], 'g', fence)
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return {fence, redis.call('HGET', KEYS[1], 'i') or ''}
",
);

/// Lets the pieces of a record that goes expire soon: somebody may be reading them.
macro_rules! bury {
    () => {
        r"
local function bury(record, prefix, grace)
  if not record or string.sub(record, 2, 2) ~= 'c' then return end
  local stamp, count = string.sub(record, 3, 34), tonumber(string.sub(record, 51, 58)) or 0
  for n = 0, count - 1 do
    redis.call('PEXPIRE', prefix .. stamp .. ':' .. n, grace)
  end
end
local function last(key, ttl)
  if redis.call('PTTL', key) < tonumber(ttl) then redis.call('PEXPIRE', key, ttl) end
end
"
    };
}

/// Makes a response visible, if the resource has the fence that it was begun under and its index is
/// the one that the new index was made from. Keys: the resource. Arguments: fence, that index, the
/// new one, field, record, time to live, grace, most fields, prefix of pieces, stamp, number of
/// pieces, then the fields to remove.
pub(super) static COMMIT: Script = Script::new(concat!(
    bury!(),
    r"
local key, field, ttl, grace, prefix = KEYS[1], ARGV[4], ARGV[6], ARGV[7], ARGV[9]
if redis.call('HGET', key, 'g') ~= ARGV[1] then return {'refused'} end
local index = redis.call('HGET', key, 'i') or ''
if index ~= ARGV[2] then return {'changed', index} end
local before = redis.call('HGET', key, field)
if not before and redis.call('HLEN', key) >= tonumber(ARGV[8]) + #ARGV - 11 then return {'full'} end
local longer = tonumber(ttl) + tonumber(grace)
for n = 0, tonumber(ARGV[11]) - 1 do
  if redis.call('PEXPIRE', prefix .. ARGV[10] .. ':' .. n, longer) == 0 then return {'lost'} end
end
redis.call('HSET', key, 'i', ARGV[3], field, ARGV[5])
bury(before, prefix, grace)
for at = 12, #ARGV do
  bury(redis.call('HGET', key, ARGV[at]), prefix, grace)
  redis.call('HDEL', key, ARGV[at])
end
last(key, ttl)
return {'done'}
"
));

/// Replaces the record of a response, its pieces stay. Keys: the resource. Arguments: field, stamp
/// and revision, new record, time to live, grace, prefix of pieces.
pub(super) static UPDATE: Script = Script::new(concat!(
    bury!(),
    r"
local key, field, ttl = KEYS[1], ARGV[1], ARGV[4]
local before = redis.call('HGET', key, field)
if not before or string.sub(before, 3, 50) ~= ARGV[2] then return 0 end
if string.sub(before, 2, 2) == 'c' then
  local longer = tonumber(ttl) + tonumber(ARGV[5])
  for n = 0, (tonumber(string.sub(before, 51, 58)) or 0) - 1 do
    local piece = ARGV[6] .. string.sub(before, 3, 34) .. ':' .. n
    if redis.call('PEXPIRE', piece, longer) == 0 then
      redis.call('HDEL', key, field)
      return 0
    end
  end
end
redis.call('HSET', key, field, ARGV[3])
last(key, ttl)
return 1
"
));

/// Removes a response. Keys: the resource. Arguments: field, stamp and revision, grace, prefix of
/// pieces.
pub(super) static REMOVE: Script = Script::new(concat!(
    bury!(),
    r"
local before = redis.call('HGET', KEYS[1], ARGV[1])
if not before or string.sub(before, 3, 50) ~= ARGV[2] then return 0 end
bury(before, ARGV[4], ARGV[3])
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
"
));

/// Forgets a resource, its fence with it. Keys: the resource. Arguments: grace, prefix of pieces. Of
/// variants the pieces expire by themselves, so that their number does not matter.
pub(super) static DELETE: Script = Script::new(concat!(
    bury!(),
    r"
bury(redis.call('HGET', KEYS[1], 'p'), ARGV[2], ARGV[1])
redis.call('UNLINK', KEYS[1])
return 1
"
));

/// Forgets a resource whose fence is older than the floor. Keys: the resource. Arguments: the floor.
pub(super) static EXPEL: Script = Script::new(
    r"
local fence = redis.call('HGET', KEYS[1], 'g')
if fence and string.sub(fence, 1, 16) < ARGV[1] then redis.call('UNLINK', KEYS[1]) end
return 1
",
);

/// Finds the log of purges, or begins a new one: if there is none, if only a part of it is there, or if
/// it ends before what somebody has seen of it. Keys: stream, name. Arguments: a new name, channel,
/// milliseconds and number of the newest record that is known. Gives name and newest id.
pub(super) static OPEN: Script = Script::new(
    r"
local name = redis.call('GET', KEYS[2])
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local known, number = tonumber(ARGV[3]), tonumber(ARGV[4])
if name and newest[1] then
  local ms, seq = string.match(newest[1][1], '(%d+)-(%d+)')
  ms, seq = tonumber(ms), tonumber(seq)
  if ms > known or (ms == known and seq >= number) then return {name, newest[1][1]} end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now <= known then now = known + 1 end
local id = string.format('%.0f-0', now)
redis.call('UNLINK', KEYS[1])
redis.call('SET', KEYS[2], ARGV[1])
redis.call('XADD', KEYS[1], id, 'k', 'begin', 't', ARGV[1])
redis.call('PUBLISH', ARGV[2], id)
return {ARGV[1], id}
",
);

/// Appends a record to the log of purges, and wakes the nodes. Keys: stream, name. Arguments: the name
/// that the log must have, channel, about how many records are kept, who appends, whether it is told
/// as an event, kind, text, label. Gives the id, or nothing if the log is another.
///
/// Each record says which one was before it, so that whoever reads notices a gap. A server that is full
/// refuses what may grow only as long as a script has written nothing: the log is trimmed first, so that
/// what is there can be purged.
pub(super) static APPEND: Script = Script::new(
    r"
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return false end
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if not newest[1] then return false end
local ms, seq = string.match(newest[1][1], '(%d+)-(%d+)')
ms, seq = tonumber(ms), tonumber(seq)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > ms then
  ms, seq = now, 0
elseif seq < 4095 then
  seq = seq + 1
else
  ms, seq = ms + 1, 0
end
local id = string.format('%.0f-%d', ms, seq)
redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[3])
redis.call('XADD', KEYS[1], id, 'p', newest[1][1], 'n', ARGV[4], 'e', ARGV[5],
  'k', ARGV[6], 't', ARGV[7], 'b', ARGV[8])
redis.call('PUBLISH', ARGV[2], id)
return id
",
);
