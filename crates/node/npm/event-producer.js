'use strict';

// The path of the file that this package replaces.

module.exports = require('./index.js');
