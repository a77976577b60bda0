'use strict';

// The file of old, by its name.

module.exports = require('./index.js');
