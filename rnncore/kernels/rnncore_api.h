/* Which version of the compiled interface a package is built against: import_rnncore() in steps.pxd compares it with
 * the version of the rnncore that it finds at import. It goes up when a function changes its meaning; a function whose
 * arguments change gets a new name, so that a module that wants the old one is refused by the import itself. */
#ifndef RNNCORE_API_H
#define RNNCORE_API_H

#define RNNCORE_API_VERSION 1

#endif
