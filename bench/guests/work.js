// The work of work.h as authors of JavaScript write it: one call for each record, whose value is a Buffer.

exports.identity = (record, write) => write(record.value);

exports.filter = (record, write) => {
  if (JSON.parse(record.value).level === 'error') write(record.value);
};

exports.redact = (record, write) => {
  const value = JSON.parse(record.value);
  if (typeof value.email === 'string') value.email = '***';
  write(Buffer.from(JSON.stringify(value)));
};

exports.route = (record, write) => {
  write(record.value, JSON.parse(record.value).region === 'eu' ? 'eu' : 'first');
};
