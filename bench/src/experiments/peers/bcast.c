/* MPI_Bcast from rank 0, again and again: bcast BYTES MESSAGES WARM_UP. Prints the seconds of the slowest rank. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    if (argc != 4) {
        fprintf(stderr, "usage: bcast BYTES MESSAGES WARM_UP\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    int bytes = atoi(argv[1]);
    long messages = atol(argv[2]), warm_up = atol(argv[3]);
    char *buffer = malloc(bytes);
    if (!buffer)
        MPI_Abort(MPI_COMM_WORLD, 1);
    memset(buffer, rank == 0 ? 7 : 0, bytes);
    for (long message = 0; message < warm_up; message++)
        MPI_Bcast(buffer, bytes, MPI_BYTE, 0, MPI_COMM_WORLD);
    MPI_Barrier(MPI_COMM_WORLD);
    double began = MPI_Wtime();
    for (long message = 0; message < messages; message++)
        MPI_Bcast(buffer, bytes, MPI_BYTE, 0, MPI_COMM_WORLD);
    MPI_Barrier(MPI_COMM_WORLD);
    double took = MPI_Wtime() - began, slowest = 0;
    int wrong = memchr(buffer, 0, bytes) != NULL, any = 0;
    MPI_Reduce(&took, &slowest, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    MPI_Reduce(&wrong, &any, 1, MPI_INT, MPI_MAX, 0, MPI_COMM_WORLD);
    if (rank == 0 && !any)
        printf("%.9f\n", slowest);
    free(buffer);
    MPI_Finalize();
    return any;
}
