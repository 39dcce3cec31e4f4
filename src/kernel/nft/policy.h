// What the host's own firewall says before any of its rules is looked at.
#pragma once

#include <stdbool.h>

// Does a base chain drop what comes to the host itself over IPv4, unless a rule says otherwise? 1, 0, or -errno. A firewall that
// iptables-legacy has set is not seen.
int nft_drops_input(void);
