/* url.h - documents that their address, their owner or their page rules out.
 *
 * Block lists in the layout of UT1 (Université Toulouse Capitole; also
 * squidGuard's): a folder with `domains` and `urls`, or a folder of such
 * folders, one for each category; files may be compressed (domains.gz, .zst).
 * A domain blocks itself and all below it; an entry of urls, written without
 * scheme, that address and all below it, at the borders of path and query.
 *
 * Word rules of FineWeb (datatrove, URLFilter): an address is cut into runs of
 * ASCII letters and digits, in lower case. One of the banned words among them
 * is enough, of the soft ones two different; a banned sub-word may stand
 * anywhere in the address squeezed to letters and digits. The lists are files
 * of the user, one word a line.
 *
 * Take-down lists: URLs (an exact address; scheme, "www.", fragment and a slash
 * at the end make no difference) and document ids, one a line, mixed.
 *
 * Consent: what extraction kept in metadata. robots: noindex or none in any of
 * the page's robots metas or X-Robots-Tag headers (one for a named robot counts
 * as well); noai: noai there (noimageai alone is about images); tdm:
 * tdm_reservation is 1 in the header or a meta (W3C TDMRep). What a site says
 * elsewhere (robots.txt, .well-known/tdmrep.json, ai.txt) is in no page: make a
 * take-down or block list of it.
 *
 * In lists, empty lines and lines that begin with '#' are skipped. Entries are
 * kept as 64-bit hashes, 16 to 32 bytes each. Read-only once opened.
 */
#ifndef KJ_FILTER_URL_H
#define KJ_FILTER_URL_H

#include "base/stage.h"

extern const struct kj_opt kj_urls_opts[];
extern const struct kj_stage kj_stage_urls;

#endif
