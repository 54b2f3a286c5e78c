//! Programs of several launches: their workspace grows, is freed, can be the caller's, and bounds what runs.

use energy_kernel::prelude::*;
use energy_kernel::simulate::Emulation;

#[energy_kernel]
fn layers(x: Tensor<f32, (M, K)>, v: Tensor<f32, (J, K)>, w: Tensor<f32, (N, J)>) -> Tensor<f32, (M, N)> {
    let hidden = |m, j| relu(sum(|k| x[[m, k]] * v[[j, k]]));
    |m, n| sum(|j| hidden[[m, j]] * w[[n, j]])
}

const K: usize = 32;
const N: usize = 32;

/// Small integers, whose sums are exact in any order.
fn matrix(rows: usize, columns: usize) -> HostTensor<f32> {
    let numbers = (0..rows * columns).map(|at| ((at * 7 + at / columns) % 5) as f32 - 2.0);
    HostTensor::new(&[rows, columns], numbers.collect()).unwrap()
}

fn sizes(rows: usize, hidden: usize) -> Sizes {
    Sizes::from([
        ("M", rows as u64),
        ("K", K as u64),
        ("J", hidden as u64),
        ("N", N as u64),
    ])
}

/// Checks the result of a call. Returns its number of launches.
fn launches(gpu: &Gpu, rows: usize, hidden: usize) -> usize {
    let inputs = [matrix(rows, K), matrix(hidden, K), matrix(N, hidden)];
    let expected = layers::reference(&inputs[0], &inputs[1], &inputs[2]).unwrap();
    let [x, v, w] = inputs.map(|host| Tensor::from_slice(gpu, host.shape(), host.data()).unwrap());
    let y = layers(gpu, &x, &v, &w).unwrap();
    assert_eq!(y.to_vec().unwrap(), expected.data(), "{rows} rows, {hidden} hidden");
    layers::plan(gpu, &sizes(rows, hidden)).unwrap().launches().len()
}

#[test]
fn workspace_that_was_outgrown_is_freed() {
    // The tensors take 0.3 MB. They and both workspaces do not fit.
    let workspace = |rows| layers::workspace(&Gpu::emulated(), &sizes(rows, 256)).unwrap();
    let (small, large) = (workspace(512), workspace(1024));
    let gpu = Gpu::emulated_with(Emulation::new().memory(large + small / 2 + 300_000));
    let prepared = |rows| {
        let plan = layers::prepare(&gpu, &sizes(rows, 256)).unwrap();
        assert!(plan.workspace() >= rows as u64 * 256 * 4, "{plan}");
        plan.launches().len()
    };
    assert_eq!(prepared(512), 2);
    assert_eq!(launches(&gpu, 512, 256), 2);
    assert_eq!(prepared(1024), 2);
    // The call that was resolved before uses the new workspace.
    assert_eq!(launches(&gpu, 512, 256), 2);
}

#[test]
fn the_caller_may_give_the_workspace() {
    let gpu = Gpu::emulated();
    let bytes = layers::workspace(&gpu, &sizes(100, 300)).unwrap();
    assert!(bytes >= 100 * 300 * 4);
    let memory = Tensor::<u8>::zeros(&gpu, &[bytes as usize]).unwrap();
    gpu.set_workspace(Some(memory.clone())).unwrap();
    assert_eq!(launches(&gpu, 100, 300), 2);
    assert!(
        memory.to_vec().unwrap().iter().any(|&byte| byte != 0),
        "the hidden layer is there"
    );
    // One row more does not fit.
    assert_eq!(launches(&gpu, 101, 300), 1);
    gpu.set_workspace(None).unwrap();
    assert_eq!(launches(&gpu, 101, 300), 2);
    // Memory at any address, of which less is used.
    let odd = Tensor::<u8>::zeros(&gpu, &[bytes as usize + 300]).unwrap();
    gpu.set_workspace(Some(odd.slice(1..).unwrap())).unwrap();
    assert_eq!(launches(&gpu, 100, 300), 2);
    gpu.set_workspace(Some(odd.slice(1..bytes as usize).unwrap())).unwrap();
    assert_eq!(launches(&gpu, 100, 300), 1);
    // Memory of another device.
    let other = Gpu::emulated();
    let refused = gpu.set_workspace(Some(Tensor::<u8>::zeros(&other, &[16]).unwrap()));
    assert!(matches!(refused, Err(Error::WrongDevice { .. })), "{refused:?}");
}

#[test]
fn a_limit_chooses_the_best_program_that_fits() {
    let gpu = Gpu::emulated();
    let bytes = layers::workspace(&gpu, &sizes(100, 300)).unwrap();
    gpu.set_workspace_limit(bytes);
    assert_eq!(launches(&gpu, 100, 300), 2);
    gpu.set_workspace_limit(bytes / 2);
    assert_eq!(launches(&gpu, 100, 300), 1);
    assert!(layers::workspace(&gpu, &sizes(100, 300)).unwrap() <= bytes / 2);
    gpu.set_workspace_limit(0);
    assert_eq!(launches(&gpu, 100, 300), 1);
    assert_eq!(layers::workspace(&gpu, &sizes(100, 300)).unwrap(), 0);
}

#[test]
fn an_empty_stage_skips_its_launch_only() {
    let gpu = Gpu::emulated();
    let expected = launches(&gpu, 40, 48);
    assert_eq!(expected, 2);
    // Sums over nothing are 0.
    let [x, v, w] = [[200, K], [0, K], [N, 0]].map(|shape| Tensor::<f32>::zeros(&gpu, &shape).unwrap());
    let mut y = Tensor::from_slice(&gpu, &[200, N], &vec![1.0; 200 * N]).unwrap();
    layers::into(&gpu, &x, &v, &w, &mut y).unwrap();
    assert_eq!(y.to_vec().unwrap(), vec![0.0; 200 * N]);
    // Nothing is launched for an empty result.
    let (x, v) = (
        Tensor::zeros(&gpu, &[0, K]).unwrap(),
        Tensor::zeros(&gpu, &[48, K]).unwrap(),
    );
    let w = Tensor::zeros(&gpu, &[N, 48]).unwrap();
    assert_eq!(layers(&gpu, &x, &v, &w).unwrap().shape(), [0, N]);
}

#[test]
fn plans_say_what_is_launched() {
    let gpu = Gpu::emulated();
    let plan = layers::plan(&gpu, &sizes(100, 300)).unwrap();
    let text = plan.to_string();
    assert!(text.contains("store="), "{text}");
    assert_eq!(text.matches("  launch: ").count(), 2, "{text}");
    assert!(
        text.contains(&format!("  workspace: {} bytes", plan.workspace())),
        "{text}"
    );
}
