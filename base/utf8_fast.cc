/* utf8_fast.cc - is a whole text valid UTF-8? By simdjson's vector code, which
 * picks the best for the processor at run time: 26 GB/s where the loop over
 * code points makes 0.6 GB/s on Korean JSON lines. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#include <simdjson.h>
#pragma GCC diagnostic pop

extern "C" {
#include "base/utf8.h"
}

bool kj_utf8_is_valid(const char *p, size_t n)
{
    return simdjson::validate_utf8(p, n);
}
