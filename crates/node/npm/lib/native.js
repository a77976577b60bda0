'use strict';

// Loads the addon from the package of this platform. Each `require` is a literal in its own `try`, so
// that bundlers and tracers include the installed package and skip the others.

const { platform, arch } = process;

/** Linux has one binary for glibc and one for musl. */
function libc() {
  if (platform !== 'linux') return '';
  const { report } = process;
  // Listing the network interfaces may take seconds.
  if (report) report.excludeNetwork = true;
  return report?.getReport?.()?.header?.glibcVersionRuntime ? '-gnu' : '-musl';
}

function name() {
  const suffix = platform === 'win32' ? '-msvc' : libc();
  return `@254carbon/event-producer-${platform}-${arch}${suffix}`;
}

/** Loads a file outside a package, such as a new build. */
function loadFile(path) {
  const module = { exports: {} };
  process.dlopen(module, path);
  return module.exports;
}

/** The platform's addon, or undefined. On Linux one of two packages is installed. */
function find(causes) {
  switch (`${platform}-${arch}`) {
    case 'darwin-arm64':
      try {
        return require('@254carbon/event-producer-darwin-arm64');
      } catch (error) {
        causes.push(error);
      }
      break;
    case 'darwin-x64':
      try {
        return require('@254carbon/event-producer-darwin-x64');
      } catch (error) {
        causes.push(error);
      }
      break;
    case 'linux-arm64':
      try {
        return require('@254carbon/event-producer-linux-arm64-gnu');
      } catch (error) {
        causes.push(error);
      }
      try {
        return require('@254carbon/event-producer-linux-arm64-musl');
      } catch (error) {
        causes.push(error);
      }
      break;
    case 'linux-x64':
      try {
        return require('@254carbon/event-producer-linux-x64-gnu');
      } catch (error) {
        causes.push(error);
      }
      try {
        return require('@254carbon/event-producer-linux-x64-musl');
      } catch (error) {
        causes.push(error);
      }
      break;
    case 'win32-arm64':
      try {
        return require('@254carbon/event-producer-win32-arm64-msvc');
      } catch (error) {
        causes.push(error);
      }
      break;
    case 'win32-x64':
      try {
        return require('@254carbon/event-producer-win32-x64-msvc');
      } catch (error) {
        causes.push(error);
      }
      break;
    default:
  }
  return undefined;
}

function load() {
  const path = process.env.CARBON_EVENTS_ADDON;
  if (path) return loadFile(path);
  const causes = [];
  const addon = find(causes);
  if (addon !== undefined) return addon;
  const missing = causes.every((error) => error.code === 'MODULE_NOT_FOUND');
  const advice = missing
    ? 'it is an optional dependency: install without --omit=optional, on the platform that runs it'
    : causes.map((error) => error.message).join('; ');
  throw new Error(`@254carbon/event-producer has no addon for ${name()}: ${advice}`, {
    cause: causes[0],
  });
}

module.exports = load();
