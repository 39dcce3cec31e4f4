// skiff-shim: started by skiffd with a socket as descriptor 3, once per container. Its arguments are room for the socket
// path and the usual parent of containers' cgroups.
#include "shim/shim.h"

int main(int argc, char **argv)
{
    return shim_main(argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL);
}
