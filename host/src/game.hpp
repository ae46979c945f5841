// The game: a loop that ticks with a budget while its tasklets live and its downloads run.
#pragma once

#include "options.hpp"

namespace host {

/// Plays until the time is over and the downloads have ended. Returns true when everything was right. Failures have been
/// written to stderr, one line each.
bool play(const options& how);

/// Parks options::park tasklets in a receive, prints what they cost, wakes them all, and checks that each woke once with the
/// value it was sent. Returns true when that was so.
bool park(const options& how);

/// Writes "hsw-host: `line`" to stderr.
void complain(const std::string& line);

} // namespace host
