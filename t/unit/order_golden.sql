-- Makes order_golden.def: values of every type that merge/order.c compares, in
-- the order that PostgreSQL sorts them, with the bytes that its send functions
-- write. The rank is dense: values that PostgreSQL holds equal share one.
--   psql -XAtq -v ON_ERROR_STOP=1 -f t/unit/order_golden.sql > t/unit/order_golden.def
SET TimeZone = 'UTC';
SET lc_monetary = 'C';

SELECT E'/*\n * Made by order_golden.sql on PostgreSQL '
    || split_part(current_setting('server_version'), ' ', 1)
    || E'; do not edit.\n * GOLDEN(type oid, dense rank in ascending order, binary value in hex, text)\n */';

CREATE TEMP TABLE input (n int GENERATED ALWAYS AS IDENTITY, type text, send text, literals text[]);
INSERT INTO input (type, send, literals) VALUES
('bool', 'boolsend', '{f,t}'),
('bytea', 'byteasend', '{"","\\x00","\\x0000","\\x01","\\x0100","\\x7f","\\x80","\\x8000","\\xff","\\xffff","\\x616263","\\x616264","\\x6162"}'),
('"char"', 'charsend', '{a,b,Z,"\\200","\\377",0}'),
('int8', 'int8send', '{-9223372036854775808,-4294967297,-4294967296,-1,0,1,255,256,4294967295,4294967296,9223372036854775807}'),
('int2', 'int2send', '{-32768,-257,-256,-1,0,1,255,256,32767}'),
('int4', 'int4send', '{-2147483648,-65537,-65536,-1,0,1,255,65535,65536,2147483647}'),
('oid', 'oidsend', '{0,1,2147483647,2147483648,4294967295}'),
('float4', 'float4send', '{-Infinity,-3.4028235e38,-1.5,-1,-1.1754944e-38,-1e-45,-0,0,1e-45,1.1754944e-38,0.1,1,1.5,16777216,3.4028235e38,Infinity,NaN}'),
('float8', 'float8send', '{-Infinity,-1.7976931348623157e308,-1e10,-1.5,-1,-2.2250738585072014e-308,-5e-324,-0,0,5e-324,2.2250738585072014e-308,0.1,0.30000000000000004,0.3,1,1.0000000000000002,1.5,1e10,1.7976931348623157e308,Infinity,NaN}'),
('money', 'cash_send', '{-92233720368547758.08,-1.00,-0.01,0,0.01,1.00,92233720368547758.07}'),
('macaddr', 'macaddr_send', '{00:00:00:00:00:00,00:00:00:00:00:01,00:00:00:00:01:00,08:00:2b:01:02:03,7f:ff:ff:ff:ff:ff,80:00:00:00:00:00,ff:ff:ff:ff:ff:ff}'),
('macaddr8', 'macaddr8_send', '{00:00:00:00:00:00:00:00,00:00:00:00:00:00:00:01,00:00:00:00:80:00:00:00,00:00:00:01:00:00:00:00,08:00:2b:01:02:03:04:05,80:00:00:00:00:00:00:00,ff:ff:ff:ff:ff:ff:ff:ff}'),
('date', 'date_send', '{-infinity,4713-01-01 BC,0001-12-31 BC,0001-01-01,1999-12-31,2000-01-01,2000-01-02,2024-02-29,5874897-12-31,infinity}'),
('time', 'time_send', '{00:00:00,00:00:00.000001,11:59:59.999999,12:00:00,23:59:59.999999,24:00:00}'),
('timestamp', 'timestamp_send', '{-infinity,4713-01-01 00:00:00 BC,0001-01-01 00:00:00,1999-12-31 23:59:59.999999,2000-01-01 00:00:00,2000-01-01 00:00:00.000001,2038-01-19 03:14:08,294276-12-31 23:59:59.999999,infinity}'),
('timestamptz', 'timestamptz_send', '{-infinity,4713-01-01 00:00:00+00 BC,1969-12-31 23:59:59+00,1970-01-01 00:00:00+00,2000-01-01 00:00:00+00,2000-01-01 02:00:00+02,2000-01-01 00:00:00-12,2024-06-01 12:00:00.5+02,294276-12-31 23:59:59.999999+00,infinity}'),
('interval', 'interval_send', '{-178000000 years,-1 year,-1 mon,-31 days,-30 days,-720:00:00,-24:00:00,-1 day,-00:00:00.000001,0,1 mon -30 days,1 day -24:00:00,00:00:00.000001,1 day,24:00:00,23:59:59.999999,1 mon,30 days,29 days 24:00:00,720:00:00,720:00:00.000001,30 days -00:00:00.000001,12 mons,1 year,360 days,365 days,2147483647 days 23:59:59.999999,2147483647 days 24:00:00,71582788 mons 7 days 24:00:00,-2147483648 days -2147483648 mons,178000000 years,178000000 years 2147483647 days,2562047788:00:54.775807,-2562047788:00:54.775807,106751991 days,-106751991 days}'),
('numeric', 'numeric_send', '{-Infinity,-1e131071,-123456789012345678901234567890.5,-100000000,-10000.0001,-10000,-9999.9999,-9999,-1.5,-1.00,-1,-0.5,-0.0001,-0.00001,-1e-16383,-0,0,0.0,0.000000,1e-16383,1e-100,0.00001,0.0001,0.0001000,0.00010001,0.5,0.50,0.9999,0.99999,1,1.0,1.00000,1.00001,1.0001,1.5,2,9999,9999.9999,9999.99990,10000,10000.0000,10000.0001,10001,99999999,100000000,100000000.0,100000001,123456789012345678901234567890.5,123456789012345678901234567890.50001,1e100,1e131071,Infinity,NaN}'),
('uuid', 'uuid_send', '{00000000-0000-0000-0000-000000000000,00000000-0000-0000-0000-000000000001,00000000-0000-0000-0100-000000000000,7fffffff-ffff-ffff-ffff-ffffffffffff,80000000-0000-0000-0000-000000000000,a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,ffffffff-ffff-ffff-ffff-ffffffffffff}'),
('pg_lsn', 'pg_lsn_send', '{0/0,0/1,0/FFFFFFFF,1/0,7FFFFFFF/FFFFFFFF,80000000/0,FFFFFFFF/FFFFFFFF}');

SELECT format(
    'SELECT format(''GOLDEN(%%s, %%s, "%%s", "%%s")'', %s, dense_rank() OVER (ORDER BY v),'
    ' encode(%s(v), ''hex''), replace(l, ''\'', ''\\''))'
    ' FROM (SELECT l, l::%s AS v FROM input, unnest(literals) l WHERE n = %s) x'
    ' ORDER BY v, l COLLATE "C"', type::regtype::oid, send, type, n)
FROM input ORDER BY n
\gexec
