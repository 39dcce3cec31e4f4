// skiff-shim: started by skiffd with a socket as descriptor 3, once per container. Its argument is room for the socket path.
#include "shim/shim.h"

int main(int argc, char **argv)
{
    return shim_main(argc > 1 ? argv[1] : NULL);
}
