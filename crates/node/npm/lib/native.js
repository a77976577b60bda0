'use strict';

// Finds the addon: in the package of this platform, or beside this one where it was just built.

const { platform, arch } = process;

/** glibc or musl: two binaries on Linux. */
function libc() {
  if (platform !== 'linux') return '';
  const report = process.report?.getReport?.bind(process.report);
  // Listing the network interfaces may take seconds.
  if (process.report) process.report.excludeNetwork = true;
  const glibc = report?.()?.header?.glibcVersionRuntime;
  return glibc ? '-gnu' : '-musl';
}

function name() {
  const suffix = platform === 'win32' ? '-msvc' : libc();
  return `@254carbon/event-producer-${platform}-${arch}${suffix}`;
}

function load() {
  const path = process.env.CARBON_EVENTS_ADDON;
  if (path) return require(path);
  const wanted = platform === 'linux' ? linux() : [name()];
  const causes = [];
  for (const candidate of wanted) {
    try {
      return require(candidate);
    } catch (error) {
      causes.push(error);
    }
  }
  const missing = causes.every((error) => error.code === 'MODULE_NOT_FOUND');
  const advice = missing
    ? 'it is an optional dependency: install without --omit=optional, on the platform that it is ' +
      'to run on'
    : causes.map((error) => error.message).join('; ');
  throw new Error(`@254carbon/event-producer has no addon for ${name()}: ${advice}`, {
    cause: causes[0],
  });
}

/** Usually one of the two is installed; asking which libc this is would cost milliseconds. */
function linux() {
  const base = `@254carbon/event-producer-linux-${arch}`;
  return [`${base}-gnu`, `${base}-musl`];
}

module.exports = load();
